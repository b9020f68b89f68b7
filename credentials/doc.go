// Package credentials keeps the rules for domains and SMTP users.
package credentials
