// Package authors compares the relay with other address parsers: no From or Sender
// that the relay accepts names another domain in one of them.
//
// The parsers are those of Python, Perl (Mail::Address, Email::Address and
// Email::Address::XS), Node (Nodemailer, addressparser and email-addresses) and Go.
// A test whose program is not installed is skipped, or fails if the environment
// has REQUIRE_SERVICES=1. On Debian all of them come with
//
//	apt-get install --no-install-recommends python3 perl libmailtools-perl libemail-address-perl \
//		libemail-address-xs-perl nodejs npm
//
// The Node packages are fetched with npm, in the versions of package-lock.json.
// To compare other fields than usual:
//
//	go test -run TestAuthors ./internal/integration/authors -args -author-seed 7 -author-count 100000
package authors
