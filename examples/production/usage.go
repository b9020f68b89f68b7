package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// source begins with the comment that says how to use the program.
//
//go:embed main.go
var source string

// parseArguments ends the program, unless there are none.
func parseArguments() {
	flag.Usage = func() { fmt.Fprintln(flag.CommandLine.Output(), usage()) }
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unexpected argument %q (see -help)\n", flag.Arg(0))
		os.Exit(2)
	}
}

func usage() string {
	comment, _, _ := strings.Cut(source, "\npackage main")
	return regexp.MustCompile(`(?m)^// ?`).ReplaceAllString(comment, "")
}
