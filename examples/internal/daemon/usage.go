package daemon

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// arguments ends the program, unless there are none. With -help it prints the
// comment that the source begins with.
func arguments(source string) {
	flag.Usage = func() { fmt.Fprintln(flag.CommandLine.Output(), usage(source)) }
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unexpected argument %q (see -help)\n", flag.Arg(0))
		os.Exit(2)
	}
}

func usage(source string) string {
	comment, _, _ := strings.Cut(source, "\npackage main")
	return regexp.MustCompile(`(?m)^// ?`).ReplaceAllString(comment, "")
}
