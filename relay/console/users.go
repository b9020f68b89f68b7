package console

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

type addData struct {
	Domain store.Domain
	Key    string // identifies the form; see credentials.Tenant.AddUserOnce
	Typed  string
	Error  string
}

func (req *request) addUserForm() (response, error) {
	d, err := req.domainOfPath()
	return req.addUserPage(http.StatusOK, addData{Domain: d, Key: rand.Text()}), err
}

func (req *request) addUserPage(status int, data addData) response {
	return response{status: status, template: "add", title: req.T("add.title"), data: data}
}

func (req *request) addUser() (response, error) {
	d, err := req.domainOfPath()
	if err != nil {
		return response{}, err
	}
	name, key := req.inputs.Get("name"), req.inputs.Get("key")
	if req.asJSON {
		key = req.r.Header.Get("Idempotency-Key")
	}
	var u store.User
	var password credentials.Password
	if req.asJSON && key == "" {
		u, password, err = req.tenant.AddUser(req.ctx(), d.Name, name)
	} else {
		u, password, err = req.tenant.AddUserOnce(req.ctx(), d.Name, name, key)
	}
	if errors.Is(err, store.ErrTaken) {
		return response{}, req.alreadyAdded(d, u)
	}
	if err == nil {
		req.changed(Change{Action: AddUser, Domain: u.Domain, Username: u.Username, Object: u.Name})
		return req.credentials(http.StatusCreated, req.T("credentials.added"), u, password), nil
	}
	if errors.Is(err, store.ErrLimit) {
		err = &problem{code: "user-limit", status: http.StatusConflict, field: "name"}
	}
	p := req.problemOf(err)
	if !req.asJSON && p.field == "name" {
		return req.addUserPage(p.status, addData{d, key, name, req.T("problem."+p.code+".detail", p.args...)}), nil
	}
	return response{}, p
}

// alreadyAdded returns the problem of a repeated request to add a user. The zero
// User means that the user was deleted since.
func (req *request) alreadyAdded(d store.Domain, u store.User) error {
	if u.Username == "" {
		return &problem{code: "added-and-deleted", status: http.StatusConflict, actions: []link{
			{req.T("back-to", req.Unicode(d.Name)), domainPath(d.Name)},
			{req.T("add.title"), domainPath(d.Name, "add")},
		}}
	}
	return &problem{code: "added-before", status: http.StatusConflict, args: []string{u.Name}, user: &u, actions: []link{
		{req.T("user.details"), userPath(u)},
		{req.T("user.reset"), userPath(u, "reset")},
	}}
}

type renameData struct {
	User  store.User
	Typed string
	Error string
}

func (req *request) renameForm() (response, error) {
	u, err := req.userOfPath()
	return req.renamePage(http.StatusOK, renameData{User: u, Typed: u.Name}), err
}

func (req *request) renamePage(status int, data renameData) response {
	return response{status: status, template: "rename", title: req.T("rename.title", data.User.Name), data: data}
}

func (req *request) rename() (response, error) {
	u, err := req.userOfPath()
	if err != nil {
		return response{}, err
	}
	before, name := u.Name, req.inputs.Get("name")
	err = req.tenant.RenameUser(req.ctx(), u.Username, name)
	if err == nil {
		// The rename has succeeded, so an error from here on is ignored.
		u.Name = name
		if now, err := req.tenant.User(req.ctx(), u.Username); err == nil {
			u = now
		}
		if u.Name != before {
			req.changed(Change{Action: RenameUser, Domain: u.Domain, Username: u.Username, Object: u.Name})
		}
		return response{location: domainPath(u.Domain) + query("done", "renamed"), document: documentOfUser(u)}, nil
	}
	p := req.problemOf(err)
	if !req.asJSON && p.field == "name" {
		return req.renamePage(p.status, renameData{u, name, req.T("problem.invalid.detail", p.args...)}), nil
	}
	return response{}, p
}

func (req *request) deleteUserForm() (response, error) {
	u, err := req.userOfPath()
	return req.deleteUserPage(http.StatusOK, deletion{User: u}), err
}

func (req *request) deleteUserPage(status int, d deletion) response {
	return response{status: status, template: "delete-user", title: req.T("delete-user.title", d.User.Name), data: d}
}

func (req *request) deleteUser() (response, error) {
	u, err := req.userOfPath()
	if err != nil {
		return response{}, err
	}
	if !req.asJSON && asSeen(req.inputs.Get("confirm")) != asSeen(u.Name) {
		return req.deleteUserPage(http.StatusUnprocessableEntity, deletion{User: u, Error: req.T("delete.mismatch", u.Name)}), nil
	}
	if err := req.tenant.DeleteUser(req.ctx(), u.Username); err != nil {
		return response{}, err
	}
	req.changed(Change{Action: DeleteUser, Domain: u.Domain, Username: u.Username})
	return response{location: domainPath(u.Domain) + query("done", "user-deleted")}, nil
}

// asSeen returns a name as people see and type it: in NFC, with single spaces and
// without invisible characters.
func asSeen(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, name)
	return strings.Join(strings.Fields(norm.NFC.String(name)), " ")
}
