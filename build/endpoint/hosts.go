package endpoint

import "strings"

// A Host is a server, or a domain, that AOSP or what is usually beside it asks.
type Host struct {
	// Name is a host, or a domain with all of its hosts: ".gvt1.com".
	Name string
	// Service is what it is asked for.
	Service string
	// Set says how a product asks another: the field of a product's definition, as
	// "endpoints.ntp"; "source" where only AOSP's source can; "app" where the app
	// that has it decides; "driver" where the chip's.
	Set string
}

// Hosts are those that are known, from AOSP's source and from what other
// distributions of it have found and replaced; docs/aosp.md has the same table
// for people. Of several that fit, the longest counts.
var Hosts = []Host{
	{"connectivitycheck.gstatic.com", "captive portal", "endpoints.captive_portal.http"},
	{"connectivitycheck.android.com", "captive portal", "endpoints.captive_portal.http"},
	{"clients3.google.com", "captive portal, of older builds", "endpoints.captive_portal.http"},
	{"www.google.com", "captive portal, and links", "endpoints.captive_portal.https"},
	{"play.googleapis.com", "captive portal", "endpoints.captive_portal.fallback"},
	{"time.android.com", "network time", "endpoints.ntp"},
	{".time.android.com", "network time", "endpoints.ntp"},
	{"time.google.com", "time of positioning", "endpoints.gnss_ntp"},
	{".time.google.com", "time of positioning", "endpoints.gnss_ntp"},
	{"supl.google.com", "assisted positioning", "endpoints.supl"},
	{".agnss.goog", "predicted orbits, Broadcom", "endpoints.psds"},
	{".glpals.com", "predicted orbits, Broadcom", "endpoints.psds"},
	{".xtracloud.net", "predicted orbits, Qualcomm", "endpoints.psds"},
	{".izatcloud.net", "predicted orbits, Qualcomm", "driver"},
	{".ssiloc.com", "predicted orbits, Samsung", "driver"},
	{"remoteprovisioning.googleapis.com", "remote key provisioning", "endpoints.remote_provisioning"},
	{"android.googleapis.com", "attestation: revoked keys, roots", "endpoints.attestation_revocation"},
	{".metric.gstatic.com", "private DNS: probes", "source"},
	{"www.gstatic.com", "certificate transparency: list of logs", "source"},
	{"dns.google", "DNS over TLS and HTTPS", "source"},
	{"dns64.dns.google", "DNS over HTTPS", "source"},
	{"8.8.8.8", "DNS", "endpoints.dns"},
	{"8.8.4.4", "DNS", "endpoints.dns"},
	{"2001:4860:4860::8888", "DNS", "endpoints.dns"},
	{"2001:4860:4860::8844", "DNS", "endpoints.dns"},
	{"www.googleapis.com", "Widevine provisioning, and other interfaces", "app"},
	{"update.googleapis.com", "updates of browser components", "app"},
	{".gvt1.com", "downloads of browser components", "app"},
	{"dl.google.com", "downloads", "app"},
	{"mtalk.google.com", "push messages", "app"},
	{"android.clients.google.com", "check-in and Play", "app"},
	{"app-measurement.com", "measurement of apps", "app"},
	{".app-measurement.com", "measurement of apps", "app"},
	{".google-analytics.com", "measurement", "app"},
	{".googletagmanager.com", "measurement", "app"},
	{".doubleclick.net", "advertisements", "app"},
	{".googlesyndication.com", "advertisements", "app"},
	{".crashlytics.com", "crash reports", "app"},
	{".firebaseio.com", "Firebase", "app"},
	{".firebase.google.com", "Firebase", "app"},
	{".googleusercontent.com", "content of users", "app"},
	{".withgoogle.com", "Google", "app"},
	{".gstatic.com", "Google", "app"},
	{".googleapis.com", "Google's interfaces", "app"},
	{".google.com", "Google", "app"},
	{".google.cn", "Google, in China", "app"},
	{".ggpht.com", "pictures", "app"},
	{".goo.gl", "links", "app"},
	{".youtube.com", "YouTube", "app"},
	{".android.com", "Android's sites", "app"},
}

// harmless are names in addresses that nobody asks: of XML namespaces and
// licences, and of documents that comments point at.
var harmless = []string{
	"schemas.android.com", "source.android.com", "developer.android.com", "developers.google.com", "code.google.com", "tools.android.com",
	"d.android.com", "g.co", "android-review.googlesource.com", "issuetracker.google.com", "groups.google.com", "b.corp.google.com",
}

// find returns what is known of a host; ok is false if it is nobody's of the
// table.
func find(name string) (h Host, ok bool) {
	for _, k := range Hosts {
		fits := name == k.Name || k.Name[0] == '.' && (strings.HasSuffix(name, k.Name) || name == k.Name[1:])
		if fits && len(k.Name) > len(h.Name) {
			h, ok = k, true
		}
	}
	return h, ok
}
