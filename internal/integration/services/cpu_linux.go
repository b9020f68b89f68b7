package services

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// CPUTime returns the processor time that the shared database servers have used so far,
// in steps of 10 ms. It counts their processes and those that have ended.
func CPUTime() (sum time.Duration) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, s := range []*server{&postgres, &mariadb} {
		if s.cmd == nil || s.cmd.Process == nil {
			continue
		}
		for _, stat := range stats {
			sum += cpuOf(stat, s.cmd.Process.Pid)
		}
	}
	return sum
}

// cpuOf returns the processor time of a process, if it is the server or a child of it.
func cpuOf(stat string, server int) time.Duration {
	text, err := os.ReadFile(stat)
	if err != nil {
		return 0 // it has ended
	}
	var pid, parent int
	var state string
	var skipped [9]string
	var user, system, childUser, childSystem int64
	fmt.Sscan(string(text), &pid)
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := []any{&state, &parent}
	for i := range skipped {
		fields = append(fields, &skipped[i])
	}
	if _, err := fmt.Sscan(rest, append(fields, &user, &system, &childUser, &childSystem)...); err != nil || pid != server && parent != server {
		return 0
	}
	if pid == server {
		user, system = user+childUser, system+childSystem
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	return time.Duration(user+system) * tick
}
