//go:build unix && !linux

package services

import "syscall"

// dieWithParent does nothing here: a server outlives tests that are killed.
func dieWithParent(*syscall.SysProcAttr) {}
