//go:build !race

package consoletest_test

const slowdown = 1
