package console

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

type resetData struct {
	User    store.User
	Overlap string // how long the old password may work as well; "" if that is not offered
}

func (req *request) resetForm() (response, error) {
	u, err := req.userOfPath()
	data := resetData{User: u}
	if req.h.Overlap > 0 && !u.LastConnection.IsZero() && !overlaps(u) {
		data.Overlap = req.Length(req.h.Overlap)
	}
	return response{template: "reset", title: req.T("reset.title", u.Name), data: data}, err
}

// overlaps reports whether the password before works as well.
func overlaps(u store.User) bool { return u.OldUntil.After(time.Now()) }

func (req *request) reset() (response, error) {
	u, err := req.userOfPath()
	if err != nil {
		return response{}, err
	}
	lead := req.T("credentials.reset")
	password, err := req.newPassword(u)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, credentials.ErrOverlap) {
		return response{}, &problem{code: "reset-before", status: http.StatusConflict, args: []string{u.Name}, actions: []link{
			{req.T("user.details"), userPath(u)},
			{req.T("reset.again"), userPath(u, "reset")},
		}}
	}
	if err != nil {
		return response{}, err
	}
	detail := "reset"
	if req.inputs.Get("overlap") == "true" {
		detail = "rotate"
	}
	req.changed(Change{Action: ResetPassword, Domain: u.Domain, Username: u.Username, Detail: detail})
	// The reset has succeeded, so an error from here on is ignored: the password
	// must be shown.
	if now, err := req.tenant.User(req.ctx(), u.Username); err == nil {
		u = now
	}
	if overlaps(u) {
		lead = req.T("credentials.rotated", req.Moment(u.OldUntil).Exact)
	}
	return req.credentials(http.StatusOK, lead, u, password), nil
}

// newPassword resets the password, or rotates it. The generation identifies the
// password to replace. JSON clients may omit it to replace any password.
func (req *request) newPassword(u store.User) (password credentials.Password, err error) {
	once := req.inputs.Has("generation") || !req.asJSON
	generation, badNumber := strconv.ParseInt(req.inputs.Get("generation"), 10, 64)
	if once && badNumber != nil {
		return password, errMalformed
	}
	if req.inputs.Get("overlap") == "true" {
		if req.h.Overlap <= 0 {
			return password, &problem{code: "invalid", status: http.StatusUnprocessableEntity, field: "overlap", args: []string{req.T("reason.no-overlap")}}
		}
		if once {
			return req.tenant.RotatePasswordOnce(req.ctx(), u.Username, req.h.Overlap, generation)
		}
		return req.tenant.RotatePassword(req.ctx(), u.Username, req.h.Overlap)
	}
	if once {
		return req.tenant.ResetPasswordOnce(req.ctx(), u.Username, generation)
	}
	return req.tenant.ResetPassword(req.ctx(), u.Username)
}

// endOverlap ends the old password. Until a tool has used the new one, that password may
// be lost, and the old one the only one that somebody has.
func (req *request) endOverlap() (response, error) {
	u, err := req.userOfPath()
	if err != nil {
		return response{}, err
	}
	if overlaps(u) && u.NewConnection.IsZero() {
		return response{}, &problem{code: "unused-password", status: http.StatusConflict, args: []string{u.Name}, actions: []link{{req.T("back-to", u.Name), userPath(u)}}}
	}
	if err := req.tenant.EndOverlap(req.ctx(), u.Username); err != nil && !errors.Is(err, store.ErrConflict) {
		return response{}, err
	}
	if overlaps(u) {
		req.changed(Change{Action: ResetPassword, Domain: u.Domain, Username: u.Username, Detail: "end-overlap"})
	}
	u.OldUntil = time.Time{}
	return response{location: userPath(u) + query("done", "overlap-ended"), document: documentOfUser(u)}, nil
}
