package image

// licenses holds the licence of each Go module that miosd is built from, as an
// SPDX expression: what the LICENSE file in the module says. A test compares
// it with what miosd really links.
var licenses = map[string]string{
	"github.com/andybalholm/brotli":  "MIT",
	"github.com/insomniacslk/dhcp":   "BSD-3-Clause",
	"github.com/josharian/native":    "MIT",
	"github.com/mdlayher/packet":     "MIT",
	"github.com/mdlayher/socket":     "MIT",
	"github.com/pierrec/lz4/v4":      "BSD-3-Clause",
	"github.com/therootcompany/xz":   "CC0-1.0",
	"github.com/u-root/u-root":       "BSD-3-Clause",
	"github.com/u-root/uio":          "BSD-3-Clause",
	"github.com/vishvananda/netlink": "Apache-2.0",
	"github.com/vishvananda/netns":   "Apache-2.0",
	"golang.org/x/crypto":            "BSD-3-Clause",
	"golang.org/x/net":               "BSD-3-Clause",
	"golang.org/x/sync":              "BSD-3-Clause",
	"golang.org/x/sys":               "BSD-3-Clause",
	"golang.org/x/term":              "BSD-3-Clause",
	"mvdan.cc/sh/v3":                 "BSD-3-Clause",
}

// License returns the SPDX expression of a Go module's licence, or NOASSERTION
// where the table does not know it.
func License(module string) string {
	if l, ok := licenses[module]; ok {
		return l
	}
	return "NOASSERTION"
}
