// Package relay is the SMTP submission server.
package relay
