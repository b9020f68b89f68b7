package console

import (
	"errors"
	"net/http"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/gatepost-mail/gatepost/store"
)

// pausedHere begins the reason of a suspension that the console made. The console ends
// only such ones: a suspension by the operator must not end because a customer wants it.
const pausedHere = "paused by its owner"

// isPaused reports whether the console has suspended a user.
func isPaused(u store.User) bool {
	return u.Suspended == pausedHere || strings.HasPrefix(u.Suspended, pausedHere+": ")
}

// A stop says that a user cannot send, for the template "stop".
type stop struct {
	Text   string
	Reason string // as the tool is told
	Resume bool   // whether the visitor may end it
}

// Stop returns why a user cannot send; nil if it can.
func (req *request) Stop(u store.User) *stop {
	switch {
	case isPaused(u):
		return &stop{req.T("pause.paused"), strings.TrimPrefix(strings.TrimPrefix(u.Suspended, pausedHere), ": "), req.May(SuspendUser)}
	case u.Suspended != "":
		return &stop{req.T("pause.suspended"), u.Suspended, false}
	case u.DomainSuspended != "":
		return &stop{req.T("pause.domain"), u.DomainSuspended, false}
	}
	return nil
}

type pauseUserData struct {
	User  store.User
	Typed string
	Error string
}

func (req *request) pauseUserForm() (response, error) {
	u, err := req.userOfPath()
	return req.pauseUserPage(http.StatusOK, pauseUserData{User: u}), err
}

func (req *request) pauseUserPage(status int, data pauseUserData) response {
	return response{status: status, template: "pause-user", title: req.T("pause.title", data.User.Name), data: data}
}

func (req *request) pauseUser() (response, error) {
	reason, typed := pausedHere, req.inputs.Get("reason")
	if given := inASCII(typed); given != "" {
		reason += ": " + given
	}
	u, err := req.setPause(reason, "pause")
	if err != nil {
		p := req.problemOf(err)
		if !req.asJSON && p.field == "reason" {
			return req.pauseUserPage(p.status, pauseUserData{u, typed, req.T("problem.invalid.detail", p.args...)}), nil
		}
		return response{}, p
	}
	return response{location: userPath(u) + query("done", "user-paused"), document: documentOfUser(u)}, nil
}

func (req *request) resumeUser() (response, error) {
	u, err := req.setPause("", "resume")
	return response{location: userPath(u) + query("done", "user-resumed"), document: documentOfUser(u)}, err
}

// setPause pauses the user of the path, or ends the pause if the reason is empty. It
// returns the user as it is then. A suspension by the operator stays, also one that is
// set at the same time.
func (req *request) setPause(reason, detail string) (u store.User, err error) {
	for range pauseTries {
		if u, err = req.pauseOnce(reason, detail); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	return u, err
}

// pauseTries is how often a pause looks at the user again because another caller has
// changed its suspension.
const pauseTries = 5

func (req *request) pauseOnce(reason, detail string) (store.User, error) {
	u, err := req.userOfPath()
	if err != nil || u.Suspended == reason {
		return u, err
	}
	if u.Suspended != "" && !isPaused(u) {
		return u, &problem{code: "suspended", status: http.StatusConflict, args: []string{u.Name}, actions: []link{{req.T("back-to", u.Name), userPath(u)}}}
	}
	if err := req.tenant.ReplaceSuspension(req.ctx(), u.Username, u.Suspended, reason); err != nil {
		return u, err
	}
	u.Suspended = reason
	req.changed(Change{Action: SuspendUser, Domain: u.Domain, Username: u.Username, Object: reason, Detail: detail})
	return u, nil
}

// inASCII returns a text without accents, for SMTP replies. Other characters beyond
// ASCII stay, and are refused.
func inASCII(text string) string {
	text = strings.NewReplacer("’", "'", "œ", "oe", "Œ", "OE", "ß", "ss", "\u00a0", " ", "\u202f", " ", "–", "-", "…", "...", "«", `"`, "»", `"`, "“", `"`, "”", `"`).Replace(text)
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(text)))
}
