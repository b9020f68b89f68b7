// Package gatepost is an SMTP relay to embed in a product whose customers send
// mail from their own domains. The package itself is empty. These are the places
// to start:
//
//   - [github.com/gatepost-mail/gatepost/relay] is the SMTP server, with an
//     example of a whole relay.
//   - [github.com/gatepost-mail/gatepost/credentials] has the domains and SMTP
//     users, and relay/console the screens for them.
//   - [github.com/gatepost-mail/gatepost/relay/queue] keeps mail until it is
//     delivered. It hands mail to relay/smarthost or relay/mx, and relay/dkim
//     signs it in between.
//   - [github.com/gatepost-mail/gatepost/store] has the contracts of the storage;
//     store/sqlstore keeps them on SQLite, PostgreSQL, MariaDB and MySQL.
//   - [github.com/gatepost-mail/gatepost/relay/relaytest] is for your tests.
//
// The folder examples has programs to run and to copy from. README.md begins with
// two of them, and DESIGN.md says why things are as they are.
package gatepost
