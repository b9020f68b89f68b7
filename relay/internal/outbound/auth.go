package outbound

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
)

// login authenticates with PLAIN (RFC 4616), or with LOGIN if the server has no
// PLAIN or refuses it. Without TLS it does so only in mode None.
func (c *Conn) login(username string, password credentials.Password, mode TLSMode) error {
	var err error
	hasPlain, hasLogin := slices.Contains(c.ext.auth, "PLAIN"), slices.Contains(c.ext.auth, "LOGIN")
	switch secret := password.Reveal(); {
	case !c.secure && mode != None:
		err = errors.New("there is no TLS to log in over")
	case strings.Contains(username+secret, "\x00"):
		err = errors.New("the username or the password contains a NUL")
	case hasPlain:
		err := c.loginPlain(username, secret)
		if refusesMechanism(err) && hasLogin {
			return c.loginLogin(username, secret)
		}
		return err
	case hasLogin:
		return c.loginLogin(username, secret)
	case len(c.ext.auth) > 0:
		err = errors.New("the server offers neither PLAIN nor LOGIN")
	default:
		err = errors.New("the server doesn't offer it")
	}
	return &Error{Host: c.host, Step: Auth, Err: err}
}

// refusesMechanism reports whether a server that refused PLAIN may take LOGIN.
// Some offer both and have only LOGIN; they answer 504, 534 or 535 (RFC 4954
// section 6).
func refusesMechanism(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Reply != nil && (e.Reply.Code == 504 || e.Reply.Code == 534 || e.Reply.Code == 535)
}

// loginPlain sends an initial response. If the server answers with an empty
// challenge, it has not read the response, so loginPlain sends it again (RFC 4954
// section 4).
func (c *Conn) loginPlain(username, secret string) error {
	response := encode("\x00" + username + "\x00" + secret)
	err := c.loginStep("AUTH PLAIN "+response, 235, secret, response)
	var e *Error
	if errors.As(err, &e) && e.challenge {
		return c.loginStep(response, 235, secret, response)
	}
	return err
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
