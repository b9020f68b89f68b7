package outbound

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
)

// login authenticates with PLAIN (RFC 4616), or LOGIN if the server has no
// PLAIN. Without TLS it doesn't, unless that was asked for.
func (c *Conn) login(username string, password credentials.Password, mode TLSMode) error {
	var err error
	switch secret := password.Reveal(); {
	case !c.secure && mode != None:
		err = errors.New("there is no TLS to log in over")
	case strings.Contains(username+secret, "\x00"):
		err = errors.New("the username or the password contains a NUL")
	case slices.Contains(c.ext.auth, "PLAIN"):
		response := encode("\x00" + username + "\x00" + secret)
		return c.loginStep("AUTH PLAIN "+response, 235, secret, response)
	case slices.Contains(c.ext.auth, "LOGIN"):
		return c.loginLogin(username, secret)
	case len(c.ext.auth) > 0:
		err = errors.New("the server offers neither PLAIN nor LOGIN")
	default:
		err = errors.New("the server doesn't offer it")
	}
	return &Error{Host: c.host, Step: Auth, Err: err}
}

func (c *Conn) loginLogin(username, secret string) error {
	if err := c.loginStep("AUTH LOGIN", 334, secret); err != nil {
		return err
	}
	if err := c.loginStep(encode(username), 334, secret); err != nil {
		return err
	}
	return c.loginStep(encode(secret), 235, secret)
}

// loginStep is command for lines that hold a secret: it forgets the line, and
// the reply if that repeats one.
func (c *Conn) loginStep(line string, code int, secrets ...string) error {
	err := c.command(Auth, line, code)
	clear(c.out)
	if err == nil {
		return nil
	}
	for _, s := range secrets {
		for _, form := range []string{s, safeText([]byte(s)), encode(s)} {
			if form != "" && strings.Contains(err.Error(), form) {
				return c.fail(Auth, errors.New("the server's reply repeats the password"))
			}
		}
	}
	return err
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
