package services

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// CPUTime returns the processor time that the shared database servers have used so far,
// in steps of 10 ms. It counts their processes and those that have ended.
func CPUTime() (sum time.Duration) {
	for _, s := range []*server{&postgres, &mariadb} {
		if s.cmd == nil || s.cmd.Process == nil {
			continue
		}
		pid := strconv.Itoa(s.cmd.Process.Pid)
		sum += cpuOf(pid, 4)
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%s/task/%s/children", pid, pid))
		for _, child := range strings.Fields(string(children)) {
			sum += cpuOf(child, 2)
		}
	}
	return sum
}

// cpuOf returns the processor time of a process: user and system, and with times 4 those
// of its children that have ended.
func cpuOf(pid string, times int) time.Duration {
	const (
		first = 11                    // of the times, in what follows the name of the program
		tick  = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	)
	stat, _ := os.ReadFile("/proc/" + pid + "/stat") // none if it has just ended
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < first+times {
		return 0
	}
	ticks := 0
	for _, field := range fields[first : first+times] {
		n, _ := strconv.Atoi(field)
		ticks += n
	}
	return time.Duration(ticks) * tick
}
