package product

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"mios/internal/lazyregexp"
)

// The bases that products are built on.
const (
	BaseCore = "core" // the reference OS: Debian's kernel and miosd
	BaseAOSP = "aosp" // a build of AOSP, which is signed anew
)

// An AOSP says what a product of base aosp is made from, and what is made of
// it. Paths are the definition's neighbours unless they are absolute.
type AOSP struct {
	// TargetFiles is the target-files zip or folder that a build of AOSP made, or a
	// folder of its images.
	TargetFiles string `yaml:"target_files"`
	// Keys say which of the vendor's keys takes the place of one that the build
	// names, by the last element of its path there: "platform: platform-phone",
	// "testkey_rsa2048: avb-system". Keys of AVB that are not named become the
	// product's avb key; others the one of their name, testkey releasekey.
	Keys map[string]string `yaml:"keys"`
	// Remove are files or folders of the build that the product does not have, as
	// on a device: /product/app/Browser.
	Remove []string `yaml:"remove"`
}

// An App is one that a product brings.
type App struct {
	APK        string `yaml:"apk"`        // file beside the definition
	Partition  string `yaml:"partition"`  // product (the default), system_ext or system
	Privileged bool   `yaml:"privileged"` // in priv-app
	// Key is the vendor's key that signs it; empty keeps its signature.
	Key string `yaml:"key"`
	// Permissions are what it gets because it is privileged.
	Permissions []string `yaml:"permissions"`
}

// A Brand is what a product is called. Empty fields leave AOSP's.
type Brand struct {
	Brand        string `yaml:"brand"`
	Manufacturer string `yaml:"manufacturer"`
	Model        string `yaml:"model"`
	Name         string `yaml:"name"`
	Device       string `yaml:"device"`
}

// Endpoints are where devices ask, in place of Google's servers. Empty fields
// leave AOSP's.
type Endpoints struct {
	CaptivePortal CaptivePortal `yaml:"captive_portal"`
	NTP           []string      `yaml:"ntp"`      // ntp://HOST
	GNSSNTP       string        `yaml:"gnss_ntp"` // host that positioning takes the time from
	SUPL          HostPort      `yaml:"supl"`
	PSDS          []string      `yaml:"psds"`                   // up to 3 addresses of predicted orbits
	Provisioning  string        `yaml:"remote_provisioning"`    // host of remote key provisioning
	DNS           []string      `yaml:"dns"`                    // addresses, where a network names none
	Revocation    string        `yaml:"attestation_revocation"` // address of the list of revoked attestation keys
}

// A CaptivePortal says how devices find out whether a network is connected.
type CaptivePortal struct {
	HTTP     string   `yaml:"http"`
	HTTPS    string   `yaml:"https"`
	Fallback []string `yaml:"fallback"`
}

// A HostPort is a server.
type HostPort struct {
	Host string `yaml:"host"`
	Port int    `yaml:"port"`
}

// AppPartitions are where apps may go.
var AppPartitions = []string{"product", "system_ext", "system"}

var (
	permissionName = lazyregexp.New(`^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)+$`)
	keyName        = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	hostName       = lazyregexp.New(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// checkAOSP checks what only products of base aosp have, and that they have
// nothing that AOSP's build decides.
func (p *Product) checkAOSP() *fieldError {
	a := p.AOSP
	for _, f := range []struct {
		field string
		set   bool
	}{
		{"kernel", p.Kernel.Cmdline != "" || p.Kernel.Modules.ROM != nil || p.Kernel.Modules.Early != nil || p.Kernel.Modules.Late != nil},
		{"partitions", p.Partitions != Partitions{}}, {"trust_store", p.TrustStore != ""}, {"health", p.Health != nil},
	} {
		if f.set {
			return wrongField("$."+f.field, "%s is for base core: with base aosp, the build of AOSP decides it", f.field)
		}
	}
	if a.TargetFiles == "" {
		return wrongField("$.aosp", "aosp.target_files is empty, want the zip or folder that a build of AOSP made")
	}
	for old, k := range a.Keys {
		if !keyName.MatchString(k) || !keyName.MatchString(old) {
			return wrongField("$.aosp.keys", "aosp.keys: %q: %q is no name of a key", old, k)
		}
	}
	for i, r := range a.Remove {
		if !path.IsAbs(r) || path.Clean(r) != r || strings.Count(r, "/") < 3 {
			return wrongField(fmt.Sprintf("$.aosp.remove[%d]", i), "%q, want a path as on a device, such as /product/app/Browser", r)
		}
	}
	for i := range p.Apps {
		if err := p.Apps[i].check(); err != nil {
			err.path = fmt.Sprintf("$.apps[%d]", i) + err.path
			return err
		}
	}
	if err := p.Brand.check(); err != nil {
		return err
	}
	return p.checkEndpoints()
}

func (a *App) check() *fieldError {
	if a.Partition == "" {
		a.Partition = AppPartitions[0]
	}
	switch {
	case !strings.HasSuffix(a.APK, ".apk"):
		return wrongField("", "apk is %q, want a file that ends in .apk", a.APK)
	case !slices.Contains(AppPartitions, a.Partition):
		return wrongField(".partition", "partition is %q, want %s", a.Partition, strings.Join(AppPartitions, ", "))
	case a.Key != "" && !keyName.MatchString(a.Key):
		return wrongField(".key", "key is %q, want the name of a key, or none to keep the app's signature", a.Key)
	case len(a.Permissions) > 0 && !a.Privileged:
		return wrongField(".permissions", "permissions are for privileged apps: set privileged")
	}
	for i, perm := range a.Permissions {
		if !permissionName.MatchString(perm) {
			return wrongField(fmt.Sprintf(".permissions[%d]", i), "permission %q, want one such as android.permission.INSTALL_PACKAGES", perm)
		}
	}
	return nil
}

func (b *Brand) check() *fieldError {
	for _, f := range [][2]string{{"brand", b.Brand}, {"manufacturer", b.Manufacturer}, {"model", b.Model}, {"name", b.Name}, {"device", b.Device}} {
		if len(f[1]) > 91 || strings.ContainsFunc(f[1], func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return wrongField("$.brand."+f[0], "brand.%s is %q, want one line of up to 91 bytes, as a property holds", f[0], f[1])
		}
	}
	return nil
}

// An address is an endpoint's, and where it stands.
type address struct {
	path, value string
	schemes     string // that it may have; "" is a host alone
}

// addresses returns all endpoints that have a host.
func (e *Endpoints) addresses() []address {
	const portal = "$.endpoints.captive_portal"
	list := []address{
		{portal + ".http", e.CaptivePortal.HTTP, "http"}, {portal + ".https", e.CaptivePortal.HTTPS, "https"},
		{"$.endpoints.gnss_ntp", e.GNSSNTP, ""}, {"$.endpoints.supl", e.SUPL.Host, ""},
		{"$.endpoints.remote_provisioning", e.Provisioning, ""}, {"$.endpoints.attestation_revocation", e.Revocation, "https http"},
	}
	for _, l := range []struct {
		path, schemes string
		list          []string
	}{{portal + ".fallback", "http https", e.CaptivePortal.Fallback}, {"$.endpoints.ntp", "ntp", e.NTP}, {"$.endpoints.psds", "https http", e.PSDS}} {
		for i, v := range l.list {
			list = append(list, address{fmt.Sprintf("%s[%d]", l.path, i), v, l.schemes})
		}
	}
	return list
}

// set reports whether there is one.
func (e *Endpoints) set() bool {
	return len(e.DNS) > 0 || slices.ContainsFunc(e.addresses(), func(a address) bool { return a.value != "" })
}

func (p *Product) checkEndpoints() *fieldError {
	e := &p.Endpoints
	for _, a := range e.addresses() {
		if a.value == "" {
			continue
		}
		name := strings.TrimPrefix(a.path, "$.")
		host := a.value
		if a.schemes != "" {
			u, err := url.Parse(a.value)
			if err != nil || u.Hostname() == "" || !slices.Contains(strings.Fields(a.schemes), u.Scheme) {
				return wrongField(a.path, "%s is %q, want an address with %s", name, a.value, strings.ReplaceAll(a.schemes, " ", " or "))
			}
			host = u.Hostname()
		}
		if !hostName.MatchString(host) {
			return wrongField(a.path, "%s is %q: %q is no host", name, a.value, host)
		}
		if !slices.Contains(p.Hosts, host) {
			return wrongField(a.path, "%s is %q: host %q is not among hosts", name, a.value, host)
		}
	}
	for i, d := range e.DNS {
		if _, err := netip.ParseAddr(d); err != nil {
			return wrongField(fmt.Sprintf("$.endpoints.dns[%d]", i), "endpoints.dns is %q, want an IP address", d)
		}
	}
	switch {
	case len(e.PSDS) > 3:
		return wrongField("$.endpoints.psds", "endpoints.psds has %d addresses, want at most 3", len(e.PSDS))
	case e.SUPL.Port < 0 || e.SUPL.Port > 65535 || (e.SUPL.Port != 0) != (e.SUPL.Host != ""):
		return wrongField("$.endpoints.supl", "endpoints.supl is %s:%d, want a host and a port", e.SUPL.Host, e.SUPL.Port)
	}
	return nil
}
