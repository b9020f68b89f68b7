// Package reencode has Python read messages before and after relay/reencode, and
// compares what it decodes. The test is skipped if Python is not installed, or
// fails if the environment has REQUIRE_SERVICES=1.
package reencode
