package clause

import "strings"

// Health returns what a node's health attributes speak for it, whatever the resource,
// by the cluster's strategy: 0 if nothing, at least -[Inf].
func Health(props, attributes Attrs) int {
	strategy := props.Get("node-health-strategy")
	if strategy == "" || strategy == "none" {
		return 0
	}
	value := func(color string, byDefault int) int { return Score(props.Get("node-health-"+color), byDefault) }
	green, yellow, red := value("green", 0), value("yellow", 0), value("red", -Inf)
	base := 0
	switch strategy {
	case "migrate-on-red":
		yellow, red = 0, -Inf
	case "only-green":
		yellow, red = -Inf, -Inf
	case "progressive":
		base = value("base", 0)
	}
	sum, worst, told := base, Inf, false
	for _, k := range attributes.Names() {
		if !strings.HasPrefix(k, "#health") {
			continue
		}
		s := 0
		switch v := attributes[k]; v {
		case "green":
			s = green
		case "yellow":
			s = yellow
		case "red":
			s = red
		default:
			s = Score(v, 0)
		}
		worst, told = min(worst, s), true
		if sum = max(-Inf, min(Inf, sum+s)); worst <= -Inf || base <= -Inf {
			sum = -Inf // what forbids is stronger than what speaks for it
		}
	}
	switch {
	case strategy == "progressive":
		return sum
	case told:
		return worst
	}
	return 0
}
