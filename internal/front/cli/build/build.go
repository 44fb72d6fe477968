// Package build says which program this is, from what its maker set and from what
// Go noted of the source. It guesses nothing: what is not known is left out.
package build

import (
	"runtime"
	"runtime/debug"
	"time"
)

// Unversioned is the version of a program that nothing is known of.
const Unversioned = "unversioned"

// commitDigits is how much of a commit is shown.
const commitDigits = 12

// Build is which program this is.
type Build struct {
	Version string `json:"version"`
	// Commit is that of the source and Time when it was made, in UTC; both are
	// empty if they are not known. Changed: the source had changes beside it.
	Commit  string `json:"commit,omitempty"`
	Time    string `json:"time,omitempty"`
	Changed bool   `json:"changed"`

	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Of returns which program this is. version is what its maker set, and may be
// empty; info is what Go noted of it, and may be nil.
func Of(version string, info *debug.BuildInfo) Build {
	b := Build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info == nil {
		info = &debug.BuildInfo{}
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Changed = s.Value == "true"
		case "vcs.time":
			if at, err := time.Parse(time.RFC3339, s.Value); err == nil {
				b.Time = at.UTC().Format(time.RFC3339)
			}
		}
	}
	switch known := info.Main.Version; {
	case b.Version != "":
	case known != "" && known != "(devel)":
		b.Version = known
	case b.Commit != "":
		b.Version = b.short()
		if b.Changed {
			b.Version += "+dirty"
		}
	default:
		b.Version = Unversioned
	}
	return b
}

func (b Build) short() string { return b.Commit[:min(len(b.Commit), commitDigits)] }

// Text says it to people, in one line or two.
func (b Build) Text() string {
	text := "keelson " + b.Version + " (" + b.Go + ", " + b.Platform + ")\n"
	switch {
	case b.Commit != "":
		text += "of commit " + b.short()
		if at, err := time.Parse(time.RFC3339, b.Time); err == nil {
			text += ", " + at.Format("2006-01-02 15:04:05") + " UTC"
		}
		if b.Changed {
			text += ", with changes that are not in it"
		}
		text += "\n"
	case b.Version == Unversioned:
		text += "it was built without a note of its source; `make build` makes one with a version\n"
	}
	return text
}
