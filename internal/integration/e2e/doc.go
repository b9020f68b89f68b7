// Package e2e sends mail through a relay with the programs and libraries that
// people have. It checks what arrives, and what each program shows its user when
// the relay refuses. It also runs the program examples/quickstart.
//
// A test whose program is not installed is skipped, or fails if the environment
// has REQUIRE_SERVICES=1. On Debian all of them come with
//
//	apt-get install --no-install-recommends curl swaks libnet-ssleay-perl python3 python3-django msmtp s-nail \
//		postfix libsasl2-modules php-cli libphp-phpmailer php-symfony-mailer nodejs npm
//
// except Exim, whose package conflicts with Postfix: unpack exim4-daemon-light with
// dpkg -x, put its program into PATH, and make the user Debian-exim.
//
// Nodemailer is fetched with npm, in the version of package-lock.json. Postfix
// and Exim run from temporary directories of their own, which takes root.
package e2e
