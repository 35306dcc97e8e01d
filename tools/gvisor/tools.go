//go:build tools

// Package gvisor pins the gVisor release that tools/gvisor.sh builds.
package gvisor

import _ "gvisor.dev/gvisor/runsc"
