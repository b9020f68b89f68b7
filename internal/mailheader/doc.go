// Package mailheader reads the header of a submitted message (RFC 5322). It is
// the only code that decides who the author of a message is: the relay's policy
// and the DKIM signer both ask it.
//
// It is stricter than RFC 5322 where mail programs disagree about the author. A
// header that it accepts names the same domains to all of them.
package mailheader
