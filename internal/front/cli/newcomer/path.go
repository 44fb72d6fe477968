package newcomer

import "path/filepath"

// Path is a flag's value: the path of a file or folder that the guard, or an agent
// that is started later, is to find from another folder. Whatever is given, it is
// absolute; an empty one stays.
type Path string

// String returns the path.
func (p *Path) String() string { return string(*p) }

// Type is what the help of a flag calls it.
func (p *Path) Type() string { return "string" }

// Set takes what was given. The error is that of [filepath.Abs].
func (p *Path) Set(given string) error {
	if given == "" {
		*p = ""
		return nil
	}
	path, err := filepath.Abs(given)
	if err != nil {
		return err
	}
	*p = Path(path)
	return nil
}
