// Package examples holds programs that embed gatepost; each folder is one.
package examples
