//go:build unix

package e2e_test

import (
	"os/exec"
	"syscall"
)

// killWithChildren makes cmd.Cancel kill the program and its children.
func killWithChildren(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
