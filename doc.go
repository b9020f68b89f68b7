// Package gatepost is an SMTP relay to embed in a product whose customers send
// mail from their own domains. There is nothing in this package itself; begin
// with package relay for the server, credentials for the users it lets in, and
// store/memory or store/sqlstore for what is remembered about them.
package gatepost
