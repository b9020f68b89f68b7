// Package consoletest tests the console (package credentials/console) in a headless
// Chromium, with a relay that is running. It has nothing to import.
//
// It needs these Debian packages; a test that misses one is skipped, or fails if
// the environment has REQUIRE_SERVICES=1:
//
//	apt-get install chromium fonts-noto-core fonts-noto-mono fonts-noto-color-emoji nodejs npm
//
// Go modules bring the driver (chromedp), and npm brings axe-core, of the
// version in package-lock.json.
//
// A picture of each screen, in the light, in the dark and on a phone, is written
// to the folder screens, beside this file, to be looked at. The two pictures of
// the README are made by
//
//	go test ./internal/integration/consoletest -run TestPictures -readme=../../../docs
package consoletest
