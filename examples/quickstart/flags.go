package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"

	"github.com/gatepost-mail/gatepost/relay/smarthost"
)

// options are the program's flags.
type options struct {
	domain            string
	listen, listenTLS string
	console           string
	json              bool
	upstream          *smarthost.Forwarder // nil: the outbox

	command  command // nil: run the relay
	argument string  // of the command, if it takes one
}

const usage = `Usage: go run ./examples/quickstart [flags]

Without -add, -reset, -delete, -list or -queue the relay runs until Ctrl-C. It
writes to the current directory: gatepost.db, a certificate for localhost in
gatepost.crt and gatepost.key, and each message it accepts to outbox/ID.eml. The
other five work on the same gatepost.db and end, also while the relay runs; it
obeys at once. The ports that -add and -reset show are those of -listen and
-listen-tls.

With -upstream the messages it accepts are queued in gatepost.db and handed to
that server. While it is down or refuses them for now, they wait, also across a
restart with -upstream: the next try is after a second, then after longer and
longer, up to two minutes or so. What is refused for good, or is three days old,
bounces to its sender, through the same server.

The exit status is 1 after an error, and 2 for flags that make no sense.

`

// parseFlags reads the command line. If that makes no sense it ends the
// program, with status 2.
func parseFlags() options {
	var o options
	flag.StringVar(&o.domain, "domain", "", "the sending `domain`; the relay adds it if need be (default the oldest\nthere is, at first "+firstDomain+")")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:2587", "`address` for STARTTLS; port 0 is any free one")
	flag.StringVar(&o.listenTLS, "listen-tls", "127.0.0.1:2465", "`address` for TLS from the first byte")
	flag.StringVar(&o.console, "console", "127.0.0.1:2580", "`address` of the pages on which users are managed; they have no\nlogin, so it is one of the loopback interface")
	flag.BoolVar(&o.json, "json", false, "print JSON: of a command one document, of the relay one when it is ready\nand then one for each event, each on a line of its own")
	// Not a flag.Func: of that the flag package repeats what it is given.
	upstream := flag.String("upstream", "", "queue messages for the server of this `URL`: smtp://user@host:port with STARTTLS,\nor smtps:// with TLS from the first byte; "+passwordVariable+" is the\nuser's password. ?tls=skip-verify takes any certificate, ?tls=none does without\nTLS, both for private networks only")
	flag.Func("add", "add an SMTP user of this `name` and show its password", o.choose(addUser))
	flag.Func("reset", "give the user of this `username` a new password and show it", o.choose(resetPassword))
	flag.Func("delete", "delete the user of this `username`, for good", o.choose(deleteUser))
	flag.BoolFunc("list", "list the users with their last connections; of -domain, or of all", o.choose(listUsers))
	flag.BoolFunc("queue", "list the recipients whose messages wait for the upstream, and why", o.choose(listQueue))
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := o.check(flag.Args(), *upstream); err != nil {
		fmt.Fprintf(os.Stderr, "%v (see -help)\n", err)
		os.Exit(2)
	}
	return o
}

// check makes sense of what the flag package leaves as it is.
func (o *options) check(args []string, upstream string) (err error) {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	if host, _, err := net.SplitHostPort(o.console); err == nil && !loopback(host) {
		return errors.New("-console: the pages have no login, so give an address of the loopback interface, such as 127.0.0.1:2580")
	}
	if upstream == "" {
		return nil
	}
	if o.upstream, err = parseUpstream(upstream); err != nil {
		return fmt.Errorf("-upstream: %w", err)
	}
	return nil
}

// choose returns what a flag does that is a command.
func (o *options) choose(c command) func(argument string) error {
	return func(argument string) error {
		if o.command != nil {
			return errors.New("one of -add, -reset, -delete, -list and -queue at a time")
		}
		o.command, o.argument = c, argument
		return nil
	}
}
