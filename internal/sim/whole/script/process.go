package script

// Process is a process that can be killed and stopped.
type Process struct {
	Up      bool
	Life    int // grows with every start and every end
	stopped int // faults that keep it from running
	waiting []func()
}

// Next is the process that is started after p.
func (p *Process) Next() Process { return Process{Up: true, Life: p.Life + 1} }

// End ends it. What waited for it is not done.
func (p *Process) End() { *p = Process{Life: p.Life + 1} }

// Runs reports whether it is there and not stopped.
func (p *Process) Runs() bool { return p.Up && p.stopped == 0 }

// Stands reports whether it is there and stopped.
func (p *Process) Stands() bool { return p.Up && p.stopped > 0 }

// Only returns do for this life of the process: it is not done in another, and
// waits while the process is stopped.
func (p *Process) Only(do func()) func() {
	life := p.Life
	var once func()
	once = func() {
		switch {
		case p.Life != life:
		case p.stopped > 0:
			p.waiting = append(p.waiting, once)
		default:
			do()
		}
	}
	return once
}

// Stop stops it once more.
func (p *Process) Stop() { p.stopped++ }

// Resume takes one Stop back. It goes on if nothing else keeps it.
func (p *Process) Resume() {
	if p.stopped--; p.stopped > 0 {
		return
	}
	waiting := p.waiting
	p.waiting = nil
	for _, do := range waiting {
		do()
	}
}
