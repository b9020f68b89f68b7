//go:build unix

package services

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// attributes are those of a database server's process.
func attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Credential: credential()}
	dieWithParent(attr)
	return attr
}

// chown gives a directory to the user that the database servers run as.
func chown(dir string) error {
	cred := credential()
	if cred == nil {
		return nil
	}
	return os.Chown(dir, int(cred.Uid), int(cred.Gid))
}

// credential returns the user that the database servers run as. They refuse to
// run as root. Nil means the user that the tests run as.
func credential() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "mysql", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return nil
}
