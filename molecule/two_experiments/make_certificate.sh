#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# make_certificate.sh DIRECTORY GROUP: a CA, and a site's certificate whose key that group may read.
set -eu
mkdir -p "$1"
cd "$1"
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/DC=org/CN=Lab CA' -keyout ca.key -out ca.pem
openssl req -newkey rsa:2048 -nodes -subj '/DC=org/DC=site/CN=vac.site.example' -keyout hostkey.pem -out host.csr
printf 'keyUsage=critical,digitalSignature,keyEncipherment\n' > host.ext
openssl x509 -req -in host.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile host.ext -out hostcert.new
chgrp "$2" hostkey.pem
chmod 0640 hostkey.pem
mv hostcert.new hostcert.pem
