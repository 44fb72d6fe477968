package build

import (
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAProgramSaysWhatItIsMadeOf(t *testing.T) {
	const commit = "25563d5ec2edb44ac96a3649b41665b636bdb6fe"
	info := func(version, modified string) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: []debug.BuildSetting{
			{Key: "-buildmode", Value: "exe"},
			{Key: "vcs", Value: "git"},
			{Key: "vcs.revision", Value: commit},
			{Key: "vcs.time", Value: "2026-11-23T22:20:35+01:00"},
			{Key: "vcs.modified", Value: modified},
		}}
	}
	const pseudo = "v0.0.0-20261123212035-25563d5ec2ed"
	tests := []struct {
		name string
		set  string
		info *debug.BuildInfo
		want Build
		text string
	}{
		{
			name: "a release", set: "v0.2.0", info: info(pseudo, "false"),
			want: Build{Version: "v0.2.0", Commit: commit, Time: "2026-11-23T21:20:35Z"},
			text: "\nof commit 25563d5ec2ed, 2026-11-23 21:20:35 UTC\n",
		},
		{
			name: "a plain build with changes", info: info(pseudo+"+dirty", "true"),
			want: Build{Version: pseudo + "+dirty", Commit: commit, Time: "2026-11-23T21:20:35Z", Changed: true},
			text: "\nof commit 25563d5ec2ed, 2026-11-23 21:20:35 UTC, with changes that are not in it\n",
		},
		{
			name: "a plain build by a Go that names no version", info: info("(devel)", "true"),
			want: Build{Version: "25563d5ec2ed+dirty", Commit: commit, Time: "2026-11-23T21:20:35Z", Changed: true},
			text: "\nof commit 25563d5ec2ed, 2026-11-23 21:20:35 UTC, with changes that are not in it\n",
		},
		{
			name: "a build of the published module", info: &debug.BuildInfo{Main: debug.Module{Version: "v0.2.0"}},
			want: Build{Version: "v0.2.0"}, text: "\n",
		},
		{
			name: "a build of which nothing is known", info: &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}},
			want: Build{Version: Unversioned}, text: "\nit was built without a note of its source; `make build` makes one with a version\n",
		},
		{
			name: "no note at all", want: Build{Version: Unversioned},
			text: "\nit was built without a note of its source; `make build` makes one with a version\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Of(tt.set, tt.info)
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Build{}, "Go", "Platform")); diff != "" {
				t.Error(diff)
			}
			if want := "keelson " + tt.want.Version + " (" + got.Go + ", " + got.Platform + ")" + tt.text; got.Text() != want {
				t.Errorf("the text is %q, want %q", got.Text(), want)
			}
		})
	}
}
