#!/bin/sh
# ini-page.sh VERSION: tidemill.ini(5), out of host/conf/reference.ini (standard input).
set -eu
cat <<PAGE
.TH TIDEMILL.INI 5 "" "tidemill $1" "tidemill"
.SH NAME
tidemill.ini \- what a tidemill deployment reads, runs and delivers to
.SH DESCRIPTION
.nf
PAGE
sed 's/\\/\\e/g; s/-/\\-/g; s/^\([.'"'"']\)/\\\&\1/'
cat <<'PAGE'
.fi
.SH SEE ALSO
.BR tidemill (1)
PAGE
