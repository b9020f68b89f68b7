package console

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

type addData struct {
	Domain store.Domain
	Key    string // makes the form good for one user; see credentials.Tenant.AddUserOnce
	Typed  string
	Error  string
}

func (v *visit) askAddUser() (answer, error) {
	d, err := v.theDomain()
	return v.addPage(http.StatusOK, addData{Domain: d, Key: rand.Text()}), err
}

func (v *visit) addPage(status int, data addData) answer {
	return answer{status: status, template: "add", title: v.T("add.title"), data: data}
}

func (v *visit) addUser() (answer, error) {
	d, err := v.theDomain()
	if err != nil {
		return answer{}, err
	}
	name, key := v.inputs["name"], v.inputs["key"]
	if v.program {
		key = v.r.Header.Get("Idempotency-Key")
	}
	var u store.User
	var password credentials.Password
	if v.program && key == "" {
		u, password, err = v.tenant.AddUser(v.ctx(), d.Name, name)
	} else {
		u, password, err = v.tenant.AddUserOnce(v.ctx(), d.Name, name, key)
	}
	if errors.Is(err, store.ErrTaken) {
		return answer{}, v.addedBefore(d, u)
	}
	if err == nil {
		return v.credentials(http.StatusCreated, "credentials.added", u, password), nil
	}
	p := v.problemOf(err)
	if !v.program && p.field == "name" {
		return v.addPage(p.status, addData{d, key, name, v.T("problem.invalid.detail", p.args...)}), nil
	}
	return answer{}, p
}

// addedBefore is what a request to add a user comes to that was here before.
// The user may be deleted since.
func (v *visit) addedBefore(d store.Domain, u store.User) error {
	if u.Username == "" {
		return &problem{code: "added-and-deleted", status: http.StatusConflict, actions: []link{
			{v.T("back-to", v.Unicode(d.Name)), domainPath(d.Name)},
			{v.T("add.title"), domainPath(d.Name, "add")},
		}}
	}
	return &problem{code: "added-before", status: http.StatusConflict, args: []string{u.Name}, user: &u, actions: []link{
		{v.T("user.details"), userPath(u)},
		{v.T("user.reset"), userPath(u, "reset")},
	}}
}

type userData struct {
	User  store.User
	Host  string
	Ports []port
}

func (v *visit) user() (answer, error) {
	u, err := v.theUser()
	return answer{
		template: "user",
		title:    u.Name,
		data:     userData{u, v.h.SMTPHost, v.h.ports()},
		document: userAndServerDocument{documentOfUser(u), v.h.documentOfServer()},
	}, err
}

type renameData struct {
	User  store.User
	Typed string
	Error string
}

func (v *visit) askRename() (answer, error) {
	u, err := v.theUser()
	return v.renamePage(http.StatusOK, renameData{User: u, Typed: u.Name}), err
}

func (v *visit) renamePage(status int, data renameData) answer {
	return answer{status: status, template: "rename", title: v.T("rename.title", data.User.Name), data: data}
}

func (v *visit) rename() (answer, error) {
	u, err := v.theUser()
	if err != nil {
		return answer{}, err
	}
	name := v.inputs["name"]
	err = v.tenant.RenameUser(v.ctx(), u.Username, name)
	if err == nil {
		// It is done: what else there is to say of the user must not fail.
		u.Name = name
		if now, err := v.tenant.User(v.ctx(), u.Username); err == nil {
			u = now
		}
		return answer{location: domainPath(u.Domain) + query("done", "renamed"), document: documentOfUser(u)}, nil
	}
	p := v.problemOf(err)
	if !v.program && p.field == "name" {
		return v.renamePage(p.status, renameData{u, name, v.T("problem.invalid.detail", p.args...)}), nil
	}
	return answer{}, p
}

func (v *visit) askReset() (answer, error) {
	u, err := v.theUser()
	return answer{template: "reset", title: v.T("reset.title", u.Name), data: userData{User: u}}, err
}

func (v *visit) reset() (answer, error) {
	u, err := v.theUser()
	if err != nil {
		return answer{}, err
	}
	// The number of the password that is to be replaced. A program that names
	// none means whichever there is.
	var password credentials.Password
	if text, given := v.inputs["generation"]; given || !v.program {
		generation, badNumber := strconv.ParseInt(text, 10, 64)
		if badNumber != nil {
			return answer{}, errMalformed
		}
		password, err = v.tenant.ResetPasswordOnce(v.ctx(), u.Username, generation)
	} else {
		password, err = v.tenant.ResetPassword(v.ctx(), u.Username)
	}
	if errors.Is(err, store.ErrConflict) {
		return answer{}, &problem{code: "reset-before", status: http.StatusConflict, args: []string{u.Name}, actions: []link{
			{v.T("user.details"), userPath(u)},
			{v.T("reset.again"), userPath(u, "reset")},
		}}
	}
	if err != nil {
		return answer{}, err
	}
	// The password is out: what else there is to say of the user must not fail.
	if now, err := v.tenant.User(v.ctx(), u.Username); err == nil {
		u = now
	}
	return v.credentials(http.StatusOK, "credentials.reset", u, password), nil
}

func (v *visit) askDeleteUser() (answer, error) {
	u, err := v.theUser()
	return v.deleteUserPage(http.StatusOK, deletion{User: u}), err
}

func (v *visit) deleteUserPage(status int, d deletion) answer {
	return answer{status: status, template: "delete-user", title: v.T("delete-user.title", d.User.Name), data: d}
}

func (v *visit) deleteUser() (answer, error) {
	u, err := v.theUser()
	if err != nil {
		return answer{}, err
	}
	if !v.program && seen(v.inputs["confirm"]) != seen(u.Name) {
		return v.deleteUserPage(http.StatusUnprocessableEntity, deletion{User: u, Error: v.T("delete.mismatch", u.Name)}), nil
	}
	if err := v.tenant.DeleteUser(v.ctx(), u.Username); err != nil {
		return answer{}, err
	}
	return answer{location: domainPath(u.Domain) + query("done", "user-deleted")}, nil
}

// seen returns a name as people see it, and so type it: composed (NFC), with
// white space folded and without what is invisible.
func seen(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, name)
	return strings.Join(strings.Fields(norm.NFC.String(name)), " ")
}
