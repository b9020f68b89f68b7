//go:build !unix

package services

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }

func chown(string) error { return nil }
