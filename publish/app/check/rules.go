package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mios"
	"mios/format/apk"
	"mios/format/targetfiles"
	"mios/internal/progress"
	"mios/publish/app/google"
	"mios/publish/app/report"
)

func (j *judge) signature() {
	for _, f := range j.Files {
		s := f.Signature
		if s.Verified {
			if slices.Equal(s.Schemes, []string{"v1"}) {
				j.add("signature-v1", f.Name, "Only a JAR signature (v1) protects it, which leaves parts of the file open.",
					"Sign it with scheme v2 and v3 too: mios app sign does.")
			}
			continue
		}
		j.add("signature", f.Name, "The signature does not verify"+reason(s)+".", "Sign the package again, as the last step of building it: mios app verify tells all.")
	}
	if s := j.OldPlatforms; s != nil && !s.Verified {
		j.add("signature-old", j.Files[0].Name, fmt.Sprintf("On %s and up to Android 6.0, which the app is for, the signature does not verify%s.",
			report.Android(j.App.MinSDK), reason(s)), "Sign with v1 too, or raise minSdkVersion to 24.")
	} else if s != nil && len(j.Signers) > 0 && !j.sameOldSigners(s) {
		j.add("signature-old", j.Files[0].Name, "Platforms up to Android 6.0 take it to be signed by somebody else than newer ones do.", "Sign it anew, with one key or with a lineage.")
	}
}

// sameOldSigners reports whether who signed for old platforms also signs for new
// ones, or has named who does.
func (j *judge) sameOldSigners(s *report.Signature) bool {
	signers, _, err := who(s)
	return err == nil && len(signers) > 0 && !slices.ContainsFunc(signers, func(d mios.Digest) bool {
		return !slices.Contains(j.Signers, d) && !slices.Contains(j.Lineage, d)
	})
}

// reason is the first thing wrong with a signature.
func reason(s *report.Signature) string {
	if len(s.Errors) == 0 {
		return ""
	}
	return ": " + s.Errors[0].String()
}

func (j *judge) keys() {
	for _, f := range j.Files {
		for _, s := range f.Signature.Signers {
			if !s.Current {
				continue
			}
			name := cmp.Or(s.Subject, s.Digest)
			if strings.Contains(s.Subject, "CN=Android Debug") {
				j.add("debug-key", name, f.Name+" is signed with a debug key.", "Sign it with a key of your own that you keep.")
			}
			test, public := targetfiles.TestDigest(s.Digest)
			if !public {
				test, public = targetfiles.TestDigest(s.KeyDigest)
			}
			if public {
				j.add("test-key", name, f.Name+" is signed with "+test.Name()+", a test key of AOSP's, whose private half is public.", "Sign it with a key of your own that you keep.")
			}
			if weak := s.Key; strings.HasPrefix(weak, "dsa") || weak == "rsa512" || weak == "rsa768" || weak == "rsa1024" {
				j.add("weak-key", name, fmt.Sprintf("%s is signed with a key of the kind %s, which can be broken.", f.Name, weak),
					"Move on to a new key with a lineage: mios app lineage create.")
			}
		}
	}
}

func (j *judge) set() {
	for _, problem := range j.Set {
		j.add("set", "", strings.ToUpper(problem[:min(1, len(problem))])+problem[min(1, len(problem)):]+".", "Hand in the base package with all of its splits, of one build.")
	}
	if j.Code != "" {
		j.add("code", "", "The code cannot be read, and devices would not run it: "+j.Code+".", "Build the package again.")
	}
}

func (j *judge) sdk() {
	if least := j.policy.TargetSDK; j.App.TargetSDK < least {
		j.add("target-sdk", fmt.Sprint(j.App.TargetSDK), fmt.Sprintf("It is made for %s; the least is %s.", report.Android(j.App.TargetSDK), report.Android(least)),
			"Raise targetSdkVersion: an app for an older Android escapes what newer ones protect people by.")
	}
}

func (j *judge) flags() {
	if j.App.Debuggable {
		j.add("debuggable", "", "The app is debuggable: whoever has the device can read and change what it does.", "Build it for release, without android:debuggable.")
	}
	if j.App.TestOnly {
		j.add("test-only", "", "The app is for tests only: devices refuse to install it.", "Build it for release, without android:testOnly.")
	}
}

// permissions are those of a first version; of later ones only what is new is
// said.
func (j *judge) permissions() {
	if j.old != nil {
		return
	}
	for _, p := range j.Permissions() {
		switch {
		case slices.Contains(j.policy.Sensitive, p.Name):
			j.add("sensitive", p.Name, "The app asks for "+p.Name+", which gives it much power over the person.", "Check that its purpose needs it, and that the listing says why.")
		case p.Group == report.GroupPerson || p.Group == report.GroupSetting:
			j.add("permission", p.Name, "The app asks for "+p.Name+about(p)+".", "")
		}
	}
}

func about(p report.Permission) string {
	how := ", granted on installing"
	switch p.Group {
	case report.GroupPerson:
		how = ", which the person is asked for"
	case report.GroupSetting:
		how = ", which the person switches on in the settings"
	}
	if p.About != "" {
		how = " (" + p.About + ")" + how
	}
	return how
}

func (j *judge) components() {
	var before []report.Component
	if j.old != nil {
		before = j.old.Components()
	}
	open := 0
	for _, c := range j.Components() {
		known := slices.ContainsFunc(before, func(o report.Component) bool {
			return o.Kind == c.Kind && o.Name == c.Name && o.Permission == c.Permission && o.Exported == c.Exported
		})
		if slices.Contains(j.policy.Sensitive, c.Permission) && !known {
			j.add("sensitive", c.Name, fmt.Sprintf("The %s %s is one that the system binds with %s.", c.Kind, c.Name, c.Permission),
				"Check that the app's purpose needs it, and that the listing says why.")
		}
		if !c.Exported {
			continue
		}
		open++
		if c.Kind == apk.KindProvider && c.Permission == "" && !known {
			j.add("provider-open", c.Name, "Every app can reach the content of the provider "+c.Name+": no permission guards it.",
				"Guard it with a permission, or set android:exported=\"false\".")
		}
	}
	if open > 0 && j.old == nil {
		j.add("exported", "", fmt.Sprintf("Other apps can start %d of its components.", open), "")
	}
}

func (j *judge) native() {
	for _, problem := range j.PageProblems() {
		j.add("page-size", "", "It does not run on devices whose memory has pages of 16 KiB: "+problem+".", "")
	}
	abis := j.ABIs()
	wide := slices.ContainsFunc(abis, func(abi string) bool { return slices.Contains(abis64, abi) })
	if len(abis) > 0 && !wide {
		j.add("abi-32", strings.Join(abis, " "), "Its native code is for 32-bit processors alone, which newer devices do not run.", "Build it for arm64-v8a and x86_64 too.")
	}
}

var abis64 = []string{"arm64-v8a", "x86_64", "riscv64", "mips64"}

func (j *judge) size() {
	if most := j.policy.MaxSize; most > 0 && j.Size > most {
		j.add("size", "", fmt.Sprintf("It is of %s; at most %s are allowed.", progress.Size(j.Size), progress.Size(most)), "Leave out what few devices need, or cut it into splits.")
	}
}

func (j *judge) google() {
	if j.Google == nil {
		return
	}
	for _, s := range j.Google.Services {
		switch s.Verdict {
		case google.Partly:
			j.add("google", s.ID, googleSays(s), s.Instead)
		case google.Fails:
			j.add("google-fails", s.ID, googleSays(s), s.Instead)
		}
	}
}

// googleSays tells what becomes of an app without a service, and one place that
// shows that it uses it.
func googleSays(s google.Service) string {
	out := fmt.Sprintf("Without %s: %s", s.Name, s.Says)
	if len(s.Evidence) > 0 {
		e := s.Evidence[0]
		out += " It uses " + e.What
		if e.Where != "" {
			out += " in " + e.Where
		}
		out += "."
	}
	return out
}

func (j *judge) page() {
	if j.App.Label == "" {
		j.add("label", "", "The app has no name.", "Give the application an android:label.")
	}
	switch {
	case len(j.Icon) == 0 && len(j.IconMissing) == 0:
		j.add("icon", "", "The app has no icon.", "Give the application an android:icon, or the listing one.")
	case len(j.Icon) == 0:
		j.add("icon", "", "The icon cannot be drawn: "+j.IconMissing[0]+".", "Put one into the listing.")
	case len(j.IconMissing) > 0:
		j.add("icon-missing", "", "Of the icon this is not drawn: "+strings.Join(j.IconMissing, "; ")+".", "Put one into the listing.")
	}
}
