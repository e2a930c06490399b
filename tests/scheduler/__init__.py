"""The scheduler: timers, leases, mail, events, sweeper, retention; with the real engine."""
