# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Made from the parsers of condor_vac by python -m tests.command_documents.

_condor_vac() {
  local word=${COMP_WORDS[COMP_CWORD]} before=$((COMP_CWORD - 1)) place=condor_vac kind=none words='' number
  # --option=value is three words.
  [[ $word != = ]] || word='' before=$COMP_CWORD
  [[ ${COMP_WORDS[before]} != = ]] || before=$((before - 1))
  for ((number = 1; number < COMP_CWORD; number++)); do
    case "$place ${COMP_WORDS[number]}" in
      "condor_vac factory" | \
      "condor_vac factory-job" | \
      "condor_vac status" | \
      "condor_vac machines" | \
      "condor_vac usage" | \
      "condor_vac page" | \
      "condor_vac explain" | \
      "condor_vac trace" | \
      "condor_vac metrics" | \
      "condor_vac simulate" | \
      "condor_vac render-user-data" | \
      "condor_vac machinetype" | \
      "condor_vac pipe" | \
      "condor_vac import" | \
      "condor_vac image" | \
      "condor_vac image list" | \
      "condor_vac image put" | \
      "condor_vac image refresh" | \
      "condor_vac image keep" | \
      "condor_vac image remove" | \
      "condor_vac image verify" | \
      "condor_vac proxy" | \
      "condor_vac outcome" | \
      "condor_vac mjf-check" | \
      "condor_vac shutdowntime" | \
      "condor_vac shutdowntime show" | \
      "condor_vac shutdowntime set" | \
      "condor_vac shutdowntime cancel" | \
      "condor_vac smoke" | \
      "condor_vac smoke build" | \
      "condor_vac smoke run" | \
      "condor_vac doctor")
      place+=" ${COMP_WORDS[number]}" ;;
    esac
  done
  case "$place ${COMP_WORDS[before]}" in
    "condor_vac factory --state") kind=files ;;
    "condor_vac factory --bindings") words='htcondor2 htcondor' ;;
    "condor_vac status --machinetypes") kind=files ;;
    "condor_vac status --state") kind=files ;;
    "condor_vac status --bindings") words='htcondor2 htcondor' ;;
    "condor_vac status --watch") kind=none ;;
    "condor_vac machines --machinetypes") kind=files ;;
    "condor_vac machines --state") kind=files ;;
    "condor_vac machines --bindings") words='htcondor2 htcondor' ;;
    "condor_vac machines --watch") kind=none ;;
    "condor_vac machines --ended") kind=none ;;
    "condor_vac usage --month") kind=none ;;
    "condor_vac usage --owner") kind=none ;;
    "condor_vac usage --machinetypes") kind=files ;;
    "condor_vac usage --state") kind=files ;;
    "condor_vac page --machinetypes") kind=files ;;
    "condor_vac page --state") kind=files ;;
    "condor_vac explain --machinetypes") kind=files ;;
    "condor_vac explain --state") kind=files ;;
    "condor_vac explain --bindings") words='htcondor2 htcondor' ;;
    "condor_vac trace --machinetypes") kind=files ;;
    "condor_vac trace --state") kind=files ;;
    "condor_vac trace --bindings") words='htcondor2 htcondor' ;;
    "condor_vac trace --since") kind=none ;;
    "condor_vac metrics --textfile") kind=files ;;
    "condor_vac metrics --machinetypes") kind=files ;;
    "condor_vac metrics --state") kind=files ;;
    "condor_vac simulate --policy") kind=none ;;
    "condor_vac simulate --plot") kind=files ;;
    "condor_vac simulate --seed") kind=none ;;
    "condor_vac render-user-data --set") kind=none ;;
    "condor_vac render-user-data --http-proxy") kind=files ;;
    "condor_vac pipe --prefix") kind=none ;;
    "condor_vac pipe --local") kind=files ;;
    "condor_vac pipe --machinetypes") kind=files ;;
    "condor_vac pipe --cache") kind=files ;;
    "condor_vac pipe --last-good-seconds") kind=none ;;
    "condor_vac pipe --http-proxy") kind=files ;;
    "condor_vac image list --directory") kind=files ;;
    "condor_vac image put --directory") kind=files ;;
    "condor_vac image put --checksum") kind=none ;;
    "condor_vac image put --signing-dn") kind=none ;;
    "condor_vac image put --ca") kind=files ;;
    "condor_vac image put --origin") kind=none ;;
    "condor_vac image put --private-hosts") kind=none ;;
    "condor_vac image put --timeout") kind=none ;;
    "condor_vac image put --http-proxy") kind=files ;;
    "condor_vac image refresh --directory") kind=files ;;
    "condor_vac image refresh --timeout") kind=none ;;
    "condor_vac image refresh --http-proxy") kind=files ;;
    "condor_vac image keep --directory") kind=files ;;
    "condor_vac image remove --directory") kind=files ;;
    "condor_vac image verify --signing-dn") kind=none ;;
    "condor_vac image verify --ca") kind=files ;;
    "condor_vac proxy --out") kind=files ;;
    "condor_vac outcome --runtime") kind=none ;;
    "condor_vac outcome --fizzle") kind=none ;;
    "condor_vac smoke run --image") kind=files ;;
    "condor_vac smoke run --owner") kind=none ;;
    "condor_vac smoke run --start-timeout") kind=none ;;
    "condor_vac smoke run --run-timeout") kind=none ;;
    "condor_vac smoke run --bindings") words='htcondor2 htcondor' ;;
    "condor_vac doctor --step") words='checks condor hooks http images ip_forward network nfs packages preflight ready services sudoers' ;;
    "condor_vac doctor --textfile") kind=files ;;
    *) case "$place" in
      "condor_vac") kind=none words='-h --help --version factory factory-job status machines usage page explain trace metrics simulate render-user-data machinetype pipe import image proxy outcome mjf-check shutdowntime smoke doctor' ;;
      "condor_vac factory") kind=files words='-h --help --state --once --dry-run --bindings' ;;
      "condor_vac factory-job") kind=files words='-h --help --json' ;;
      "condor_vac status") kind=none words='-h --help --json --machinetypes --state --bindings --watch' ;;
      "condor_vac machines") kind=machinetypes words='-h --help --json --machinetypes --state --bindings --watch --ended' ;;
      "condor_vac usage") kind=none words='-h --help --month --owner --json --csv --machinetypes --state' ;;
      "condor_vac page") kind=files words='-h --help --json --machinetypes --state' ;;
      "condor_vac explain") kind=machinetypes words='-h --help --json --machinetypes --state --bindings' ;;
      "condor_vac trace") kind=none words='-h --help --json --machinetypes --state --bindings --since' ;;
      "condor_vac metrics") kind=none words='-h --help --textfile --json --machinetypes --state' ;;
      "condor_vac simulate") kind=files words='-h --help --policy --json --plot --seed' ;;
      "condor_vac render-user-data") kind=files words='-h --help --set --list --http-proxy --json' ;;
      "condor_vac machinetype") kind=files words='-h --help --json --faults --submit' ;;
      "condor_vac pipe") kind=files words='-h --help --prefix --local --machinetypes --cache --last-good-seconds --http-proxy --json' ;;
      "condor_vac import") kind=files words='-h --help --json' ;;
      "condor_vac image") kind=none words='-h --help list put refresh keep remove verify' ;;
      "condor_vac image list") kind=none words='-h --help --json --directory --digest' ;;
      "condor_vac image put") kind=files words='-h --help --json --directory --checksum --signing-dn --ca --origin --private-hosts --timeout --http-proxy --dry-run' ;;
      "condor_vac image refresh") kind=none words='-h --help --json --directory --timeout --http-proxy' ;;
      "condor_vac image keep") kind=none words='-h --help --json --directory --dry-run' ;;
      "condor_vac image remove") kind=none words='-h --help --json --directory --dry-run' ;;
      "condor_vac image verify") kind=files words='-h --help --json --signing-dn --ca' ;;
      "condor_vac proxy") kind=files words='-h --help --out --json' ;;
      "condor_vac outcome") kind=files words='-h --help --runtime --fizzle --json' ;;
      "condor_vac mjf-check") kind=files words='-h --help --strict --json' ;;
      "condor_vac shutdowntime") kind=none words='-h --help --json show set cancel' ;;
      "condor_vac shutdowntime show") kind=none words='-h --help' ;;
      "condor_vac shutdowntime set") kind=none words='-h --help' ;;
      "condor_vac shutdowntime cancel") kind=none words='-h --help' ;;
      "condor_vac smoke") kind=none words='-h --help build run' ;;
      "condor_vac smoke build") kind=files words='-h --help' ;;
      "condor_vac smoke run") kind=files words='-h --help --image --owner --start-timeout --run-timeout --json --bindings' ;;
      "condor_vac doctor") kind=none words='-h --help --step --json --nagios --textfile' ;;
    esac ;;
  esac
  if [[ $kind == machinetypes && $word != -* ]]; then
    words+=$(printf ' %s' /etc/condor_vac/machinetypes/*.json)
    words=${words//\/etc\/condor_vac\/machinetypes\/} words=${words//.json} words=${words//\*}
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  if [[ $kind == files && $word != -* ]]; then
    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$word")
    compopt -o filenames 2> /dev/null
  fi
}

complete -F _condor_vac condor_vac
