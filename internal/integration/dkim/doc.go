// Package dkim has other programs verify what relay/dkim signs: Python's dkimpy and
// Perl's Mail::DKIM. A test whose program is not installed is skipped, or fails if
// the environment has REQUIRE_SERVICES=1. On Debian all of them come with
//
//	apt-get install --no-install-recommends python3 python3-dkim python3-nacl perl libmail-dkim-perl
package dkim
