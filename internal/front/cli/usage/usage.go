// Package usage puts what is wrong with a command's flags in words. It refuses
// nothing by itself.
package usage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keelson/keelson/internal/model/specfile"
)

// Flag returns the words for a flag of c that could not be read, and what to write
// instead.
func Flag(c *cobra.Command, err error) (text, hint string) {
	see := "see `" + c.CommandPath() + " --help`"
	var value *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	switch {
	case errors.As(err, &value):
		return invalid(value, see)
	case errors.As(err, &unknown):
		return missing(c, unknown, see)
	case errors.As(err, &bare):
		return fmt.Sprintf("%s needs a value after it", dashed(bare.GetFlag())), see
	}
	return err.Error(), see
}

// dashed is a flag as it is written; -o is better known than --output.
func dashed(f *pflag.Flag) string {
	if f.Shorthand != "" {
		return "-" + f.Shorthand
	}
	return "--" + f.Name
}

func invalid(err *pflag.InvalidValueError, see string) (text, hint string) {
	text = fmt.Sprintf("%q is nothing that %s can be", err.GetValue(), dashed(err.GetFlag()))
	switch kind := err.GetFlag().Value.Type(); kind {
	case "duration":
		return text, "write it with a unit, such as 30s, 5m or 24h"
	case "int", "int64":
		return text, "write a whole number"
	case "uint", "uint64":
		return text, "write a whole number, 0 or more"
	case "bool":
		return text, fmt.Sprintf("write %s alone, or with =true or =false", dashed(err.GetFlag()))
	default:
		words := strings.Split(kind, "|") // "table|json|yaml"
		if last := len(words) - 1; last > 0 {
			return text, "choose " + strings.Join(words[:last], ", ") + " or " + words[last]
		}
	}
	return text, see
}

// missing says that a command has no such flag, and which one is like it.
func missing(c *cobra.Command, err *pflag.NotExistError, see string) (text, hint string) {
	given := "--" + err.GetSpecifiedName()
	if err.GetSpecifiedShortnames() != "" {
		given = "-" + err.GetSpecifiedName()
	}
	text = fmt.Sprintf("%s has no flag %s", c.CommandPath(), given)
	if given == "-o" || given == "--output" {
		if c.HasSubCommands() {
			return text, "-o goes with the commands below it: " + see
		}
		return text, "what it prints has one form only; " + see
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if len(f.Name) > 1 {
			names = append(names, f.Name)
		}
	})
	if near := specfile.Nearest(err.GetSpecifiedName(), names); near != "" && strings.HasPrefix(given, "--") {
		return text, fmt.Sprintf("did you mean --%s? Else %s", near, see)
	}
	return text, see
}
