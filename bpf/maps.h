/* The maps. The loader creates and pins them before it compiles this text (datapath/layout.py has the same list),
 * so they outlive the program and the process. */
#pragma once

BPF_TABLE_PINNED("hash", struct ipv6_address, struct binding, bindings, MAX_BINDINGS, PIN_DIRECTORY "/bindings");
/* Care-of address by home address, for a moment: where signalling goes to a node without a binding, or beside it. */
BPF_TABLE_PINNED("hash", struct ipv6_address, struct ipv6_address, reply_addresses, MAX_BINDINGS,
		 PIN_DIRECTORY "/reply_addresses");
BPF_TABLE_PINNED("hash", struct ipv6_address, __u32, local, MAX_HOME_AGENTS, PIN_DIRECTORY "/local");
BPF_TABLE_PINNED("percpu_array", __u32, __u64, stats, MAX_REASONS, PIN_DIRECTORY "/stats");
BPF_TABLE_PINNED("percpu_array", __u32, struct usage, usage, MAX_BINDINGS, PIN_DIRECTORY "/usage");
BPF_TABLE_PINNED("percpu_array", __u32, struct error_budget, error_budget, 1, PIN_DIRECTORY "/error_budget");
BPF_XDP_REDIRECT_MAP("devmap:" PIN_DIRECTORY "/ports", __u32, ports, MAX_PORTS);
