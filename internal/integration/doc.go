// Package integration has nothing to import. Its folders are gatepost's own tests
// with real parts: databases, mail programs, a browser, killed processes. They are
// a module of their own, so that drivers and the like are not requirements of the
// library.
//
//   - conformance runs the suite of package storetest against store/memory and
//     against store/sqlstore, on each database and driver, and measures them.
//   - e2e sends mail through the quickstart with the programs and libraries that
//     people have.
//   - authors compares the relay's parser of From with those of other languages.
//   - consoletest uses relay/console in a browser.
//   - chaos kills relays, databases and disks under load, has a person change the
//     queue meanwhile, and counts the mail.
//   - reencode has Python decode messages before and after relay/reencode.
//   - dkim has Python and Perl verify what relay/dkim signs.
//   - production runs the program examples/production.
//   - services starts the databases and programs for all of them.
//   - benchtable prints the results of the benchmarks as a table.
package integration
