// Package usage puts what is wrong with a command's flags in words. It refuses
// nothing by itself.
package usage

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// Flag returns the words for a flag that could not be read and what to write
// instead; hint stays empty where the words say it.
func Flag(err error) (text, hint string) {
	var value *pflag.InvalidValueError
	if !errors.As(err, &value) {
		return err.Error(), ""
	}
	switch value.GetFlag().Value.Type() {
	case "duration":
		hint = "write it with a unit, such as 30s, 5m or 24h"
	case "int", "int64":
		hint = "write a whole number"
	case "uint", "uint64":
		hint = "write a whole number, 0 or more"
	default:
		return err.Error(), ""
	}
	return fmt.Sprintf("%q is nothing that --%s can be", value.GetValue(), value.GetFlag().Name), hint
}
