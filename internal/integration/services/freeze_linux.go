package services

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Freeze stops all processes of the server, which then answers nothing and closes no
// connection. They go on when the returned function is called, at the latest at the
// end of the test.
func (s *Server) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	main := s.cmd.Process.Pid
	pids := []int{main}
	syscall.Kill(main, syscall.SIGSTOP) // so that it starts no others
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", main, main))
	if err != nil {
		t.Error(err)
	}
	for _, text := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(text); err == nil {
			syscall.Kill(pid, syscall.SIGSTOP)
			pids = append(pids, pid)
		}
	}
	thaw = sync.OnceFunc(func() {
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGCONT)
		}
	})
	t.Cleanup(thaw)
	return thaw
}
