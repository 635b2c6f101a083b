package qemu_test

import (
	"crypto"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"mios"
	api "mios/api/repo"
	"mios/format/avb"
	"mios/key"
	"mios/publish/repotest"
)

// onlineKeys are the roles whose keys are on servers, where they get stolen.
var onlineKeys = []string{key.Apps, key.Rollout, key.Snapshot, key.Timestamp}

// TestRefusals: whoever holds the network and all online keys installs nothing;
// what the vendor published by mistake is refused as well, each with a
// sentence; and then the device takes a good release as if nothing had been.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newSiege(t)
	for _, tt := range metadataAttacks {
		t.Run(tt.name, func(t *testing.T) {
			s.under(t)
			s.mirror.show(s.now)
			tt.attack(s, &repotest.Forger{TB: t, Keys: the.desk.Keys(), Files: s.mirror.files})
			s.refused(tt.want, tt.status)
			s.unchanged("misc", "vbmeta_a", "vbmeta_b", "boot_a", "boot_b", "super")
			if tt.lands { // the device has seen what was signed there: the vendor goes beyond
				s.publishOld()
				s.publishOld()
				s.now = s.load()
			}
		})
	}
	for _, tt := range payloadAttacks {
		t.Run(tt.name, func(t *testing.T) {
			s.under(t)
			bad := tt.attack(s)
			s.refused(tt.want, 1)
			if tt.early {
				s.unchanged("misc", "vbmeta_b", "boot_b", "super")
			}
			s.unchanged("vbmeta_a", "boot_a")
			s.known = s.digests()
			if !tt.early {
				s.slots()
			}
			s.want("1 _a healthy")
			if bad != nil {
				s.must(s.cloud.SetRollout(t.Context(), "iot", bad.Target.SHA256, api.Narrow{Withdrawn: true}))
				s.now = s.load()
			}
		})
	}
	t.Run("a good release, with garbage behind it", func(t *testing.T) {
		s.under(t)
		s.mirror.show(s.load())
		s.mirror.special[s.good.Target.File()] = endlessAfter(s.good.Target.Length)
		s.update() // which ends with the reboot
		s.healthy()
		s.want("2 _b healthy")
	})
}

// expire ends a targets role's metadata an hour ago, signed as it must be.
func expire(role, keyRole string) func(*siege, *repotest.Forger) {
	return func(_ *siege, f *repotest.Forger) {
		m := f.Role(role)
		m.Signed.Expires = time.Now().Add(-time.Hour)
		f.Forge(role, m, keyRole)
	}
}

func signedAt(ts *metadata.Metadata[metadata.TimestampType], at time.Time) {
	ts.Signed.UnrecognizedFields = map[string]any{api.SignedAt: at.UTC().Format(time.RFC3339)}
}

// truncate makes a role's file end too soon.
func truncate(role string) func(*siege, *repotest.Forger) {
	return func(_ *siege, f *repotest.Forger) {
		name := f.Name(role)
		f.Files[name] = f.Files[name][:len(f.Files[name])/2]
	}
}

// forgeRoot publishes a second root, signed by some keys.
func forgeRoot(keys func(*siege) *key.Set, roles ...string) func(*siege, *repotest.Forger) {
	return func(s *siege, f *repotest.Forger) {
		root := repotest.Read[metadata.RootType](f, "1.root.json")
		root.Signed.Version = 2
		if keys != nil {
			f.Keys = keys(s)
		}
		repotest.Write(f, "2.root.json", root, roles...)
	}
}

// narrow publishes a rollout with the stolen key.
func narrow(n api.Narrow) func(*siege, *repotest.Forger) {
	return func(s *siege, f *repotest.Forger) {
		m := f.Role(api.RoleRollout)
		f.Put(m, api.RolloutPath("iot"), api.Rollout{Product: "iot", Releases: map[mios.Digest]api.Narrow{s.good.Target.SHA256: n}})
		f.Forge(api.RoleRollout, m, key.Rollout)
	}
}

// release puts a release into the signed list that says something else of it.
func release(change func(r *api.OSRelease)) func(*siege, *repotest.Forger) {
	return func(s *siege, f *repotest.Forger) {
		m := f.Role(api.OSRole("iot"))
		r := *s.good
		change(&r)
		b, err := json.Marshal(r)
		if err != nil {
			f.TB.Fatal(err)
		}
		m.Signed.Targets[s.good.Target.Path].Custom = (*json.RawMessage)(&b)
		f.Forge(api.OSRole("iot"), m, key.OS)
	}
}

func thief(s *siege) *key.Set { return s.stranger }

const (
	clockOrOperator = "check the device's clock, and whether the repository is still signed every day"
	whichServer     = "check which one answers"
	notTrusted      = "the repository is not the one that this build trusts: check its address and its keys"
)

// metadataAttacks are refused before anything is written. Those that land are
// believed, for they only narrow; status is update_engine_client's.
var metadataAttacks = []struct {
	name   string
	attack func(s *siege, f *repotest.Forger)
	want   string
	status int
	lands  bool
}{
	{"expired timestamp", func(_ *siege, f *repotest.Forger) {
		ts, _ := f.Current()
		ts.Signed.Expires = time.Now().Add(-time.Hour)
		signedAt(ts, time.Now().Add(-25*time.Hour))
		f.ForgeTimestamp(ts)
	}, clockOrOperator, 1, false},
	{"expired snapshot", func(_ *siege, f *repotest.Forger) {
		_, snap := f.Current()
		snap.Signed.Expires = time.Now().Add(-time.Hour)
		f.ForgeSnapshot(snap)
	}, clockOrOperator, 1, false},
	{"expired targets", expire(metadata.TARGETS, key.Targets), clockOrOperator, 1, false},
	{"expired releases", expire(api.OSRole("iot"), key.OS), clockOrOperator, 1, false},
	{"expired rollout", expire(api.RoleRollout, key.Rollout), clockOrOperator, 1, false},

	{"an older repository", func(s *siege, f *repotest.Forger) { s.mirror.show(s.old) }, "the server or mirror shows an older repository than before", 1, false},
	{"an older snapshot under a stolen timestamp key", func(s *siege, f *repotest.Forger) {
		ts, _ := f.Current()
		was := (&repotest.Forger{TB: f.TB, Files: s.old}).Name(metadata.SNAPSHOT)
		_, snap := (&repotest.Forger{TB: f.TB, Files: s.old}).Current()
		ts.Signed.Meta["snapshot.json"] = repotest.Meta(snap.Signed.Version, s.old[was])
		f.ForgeTimestamp(ts)
	}, "was seen before: rolled back", 1, false},
	{"older releases under stolen timestamp and snapshot keys", func(s *siege, f *repotest.Forger) {
		_, snap := f.Current()
		_, old := (&repotest.Forger{TB: f.TB, Files: s.old}).Current()
		snap.Signed.Meta["os-iot.json"] = old.Signed.Meta["os-iot.json"]
		f.ForgeSnapshot(snap)
	}, "of os-iot.json, and version", 1, false},
	{"no releases under stolen timestamp and snapshot keys", func(_ *siege, f *repotest.Forger) {
		_, snap := f.Current()
		delete(snap.Signed.Meta, "os-iot.json")
		f.ForgeSnapshot(snap)
	}, "has no os-iot.json", 1, false},

	{"another state's snapshot under a stolen key", func(_ *siege, f *repotest.Forger) {
		name := f.Name(metadata.SNAPSHOT)
		_, snap := f.Current()
		want := len(f.Files[name]) // or it would be the length that gives it away
		for ok := true; ok; ok = len(f.Files[name]) != want {
			snap.Signed.Expires = snap.Signed.Expires.Add(time.Second)
			repotest.Write(f, strings.TrimPrefix(name, "metadata/"), snap, key.Snapshot)
		}
	}, "files that do not belong together", 1, false},
	{"another state's releases", func(s *siege, f *repotest.Forger) { f.Flip(f.Name("os-iot")) }, "files that do not belong together", 1, false},
	{"another rollout", func(s *siege, f *repotest.Forger) {
		for name := range f.Files {
			if strings.HasPrefix(name, "rollout/") {
				f.Flip(name)
			}
		}
	}, "changes files: " + whichServer, 1, false},

	{"truncated timestamp", truncate(metadata.TIMESTAMP), "invalid: check which server answers", 1, false},
	{"truncated snapshot", truncate(metadata.SNAPSHOT), "cuts files or adds to them: " + whichServer, 1, false},
	{"truncated releases", truncate("os-iot"), "cuts files or adds to them: " + whichServer, 1, false},
	{"endless root", func(s *siege, _ *repotest.Forger) { s.mirror.endless("metadata/2.root.json") }, "cuts files or adds to them: " + whichServer, 1, false},
	{"endless timestamp", func(s *siege, f *repotest.Forger) { s.mirror.endless(f.Name(metadata.TIMESTAMP)) }, "cuts files or adds to them: " + whichServer, 1, false},
	{"endless snapshot", func(s *siege, f *repotest.Forger) { s.mirror.endless(f.Name(metadata.SNAPSHOT)) }, "cuts files or adds to them: " + whichServer, 1, false},
	{"endless releases", func(s *siege, f *repotest.Forger) { s.mirror.endless(f.Name("os-iot")) }, "cuts files or adds to them: " + whichServer, 1, false},
	{"no timestamp", func(_ *siege, f *repotest.Forger) { delete(f.Files, f.Name(metadata.TIMESTAMP)) }, "check the repository's address", 1, false},
	{"a snapshot of 1 TiB under a stolen timestamp key", func(_ *siege, f *repotest.Forger) {
		ts, _ := f.Current()
		ts.Signed.Meta["snapshot.json"].Version++
		ts.Signed.Meta["snapshot.json"].Length = 1 << 40
		f.ForgeTimestamp(ts)
	}, "1099511627776 bytes, want at most", 1, false},

	{"a stranger's timestamp", func(s *siege, f *repotest.Forger) {
		f.Keys = s.stranger
		ts, _ := f.Current()
		f.ForgeTimestamp(ts)
	}, notTrusted, 1, false},
	{"a stranger's root", forgeRoot(thief, key.Root), notTrusted, 1, false},
	{"a root by all online keys", forgeRoot(nil, onlineKeys...), notTrusted, 1, false},
	{"targets by all online keys", func(_ *siege, f *repotest.Forger) {
		f.Forge(metadata.TARGETS, f.Role(metadata.TARGETS), onlineKeys...)
	}, notTrusted, 1, false},
	{"a release by all online keys", func(s *siege, f *repotest.Forger) {
		m := f.Role("os-iot")
		m.Signed.Targets[s.good.Target.Path].Length--
		f.Forge("os-iot", m, onlineKeys...)
	}, notTrusted, 1, false},
	{"a release beside its role", func(s *siege, f *repotest.Forger) {
		m := f.Role(api.RoleRollout)
		m.Signed.Targets[s.good.Target.Path] = f.Role("os-iot").Signed.Targets[s.good.Target.Path]
		delete(m.Signed.Targets, api.RolloutPath("iot")) // offers nothing by itself
		f.Forge(api.RoleRollout, m, key.Rollout)
	}, "no newer release", 0, true},

	{"signed longer ago than the product allows", func(_ *siege, f *repotest.Forger) {
		ts, _ := f.Current()
		signedAt(ts, time.Now().Add(-8*24*time.Hour))
		f.ForgeTimestamp(ts)
	}, "and this product allows 168h0m0s: too old to install from", 1, true},
	{"another product's release", release(func(r *api.OSRelease) { r.Product = "car" }), `is for product "car", and this is "iot"`, 1, true},
	{"another architecture's release", release(func(r *api.OSRelease) { r.Arch = mios.ARM64 }), "is for arm64, and this device is amd64", 0, true},
	{"another region's release", release(func(r *api.OSRelease) { r.Regions = []string{"DE"} }), "is for DE, and this device is in any of CN", 0, true},
	{"another product's rollout under a stolen key", func(s *siege, f *repotest.Forger) {
		m := f.Role(api.RoleRollout)
		f.Put(m, api.RolloutPath("iot"), api.Rollout{Product: "car"})
		f.Forge(api.RoleRollout, m, key.Rollout)
	}, `is for product "car"`, 1, true},
	{"halted with a stolen key", narrow(api.Narrow{Share: api.Everyone, Halted: true}), "is halted", 0, true},
	{"withdrawn with a stolen key", narrow(api.Narrow{Share: api.Everyone, Withdrawn: true}), "was withdrawn", 0, true},
	{"to nobody with a stolen key", narrow(api.Narrow{}), "goes out step by step", 0, true},
}

// payloadAttacks are releases that the vendor's own keys vouch for, or a good
// one's payload on a bad server. The early ones are refused before anything is
// written.
var payloadAttacks = []struct {
	name   string
	attack func(s *siege) *api.OSRelease // to be withdrawn
	want   string
	early  bool
}{
	{"payload by a wrong key", func(s *siege) *api.OSRelease {
		return s.mistake("wrong-payload-key", s.rsa, nil)
	}, "the payload is not signed by this product's key: build and publish it again with the right one", true},
	{"build time that is not the payload's", func(s *siege) *api.OSRelease {
		m := manifest(s.device.t, release2(s.device.t))
		rel := s.publish(release2(s.device.t), "wrong-time", m.BuildTime+1000, s.payload(release2(s.device.t), nil, nil, m.BuildTime+999))
		s.mirror.show(s.load())
		return rel
	}, "publish the payload again", true},
	{"vbmeta by a wrong key", func(s *siege) *api.OSRelease {
		return s.mistake("wrong-avb-key", nil, func(m *avb.VBMeta) crypto.Signer { return s.rsa })
	}, "partition vbmeta_b: the key that signed it is not trusted", false},
	{"an older rollback index", func(s *siege) *api.OSRelease {
		return s.mistake("rolled-back", nil, func(m *avb.VBMeta) crypto.Signer { m.RollbackIndex = 0; return nil })
	}, "partition vbmeta_b: rollback index 0 is older than the stored 1", false},
	{"another product's images", func(s *siege) *api.OSRelease {
		return s.mistake("car", nil, func(m *avb.VBMeta) crypto.Signer {
			for _, d := range m.Descriptors {
				if p, ok := d.(*avb.PropertyDescriptor); ok && strings.HasSuffix(p.Key, "fingerprint") {
					p.Value = []byte("car/9/user")
				}
			}
			return nil
		})
	}, "partition vbmeta_b: it is of car/9/user, and this device is iot", false},
	{"verification switched off", func(s *siege) *api.OSRelease {
		return s.mistake("unverified", nil, func(m *avb.VBMeta) crypto.Signer { m.Flags = avb.FlagVerificationDisabled; return nil })
	}, "partition vbmeta_b: verification is switched off", false},

	{"a payload that is too short", onTheWay(func(good *api.OSRelease) func(http.Handler) http.HandlerFunc {
		return rewrite(func(b []byte) []byte { return b[:len(b)-1] })
	}), "cuts files or adds to them: " + whichServer, true},
	{"an endless payload of garbage", onTheWay(func(*api.OSRelease) func(http.Handler) http.HandlerFunc {
		return func(http.Handler) http.HandlerFunc { return garbage }
	}), "changes files: " + whichServer, true},
	{"one byte flipped in the payload", onTheWay(func(*api.OSRelease) func(http.Handler) http.HandlerFunc {
		return rewrite(func(b []byte) []byte { b[len(b)/8] ^= 1; return b })
	}), "changes files: " + whichServer, false},
	{"an endless payload after a good beginning", onTheWay(func(good *api.OSRelease) func(http.Handler) http.HandlerFunc {
		return endlessAfter(good.Target.Length / 4)
	}), "changes files: " + whichServer, false},
	{"a payload that breaks off", onTheWay(func(good *api.OSRelease) func(http.Handler) http.HandlerFunc {
		return breakAt(good.Target.Length / 4)
	}), "check the network and the server", false},
}

// onTheWay shows the good release, whose payload a bad server changes.
func onTheWay(change func(good *api.OSRelease) func(http.Handler) http.HandlerFunc) func(s *siege) *api.OSRelease {
	return func(s *siege) *api.OSRelease {
		s.mirror.show(s.now)
		s.mirror.special[s.good.Target.File()] = change(s.good)
		return nil
	}
}
