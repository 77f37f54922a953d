/* The maps. The loader creates and pins them before it compiles this text (datapath/layout.py has the same list),
 * so they outlive the program and the process. */
#pragma once

BPF_TABLE_PINNED("hash", struct ipv6_address, struct binding, bindings, MAX_BINDINGS, PIN_DIRECTORY "/bindings");
/* Care-of address by home address of a node that is being brought back and has no binding yet: how signalling finds it. */
BPF_TABLE_PINNED("hash", struct ipv6_address, struct ipv6_address, pending_nodes, MAX_BINDINGS,
		 PIN_DIRECTORY "/pending_nodes");
BPF_TABLE_PINNED("hash", struct ipv6_address, __u32, local, MAX_HOME_AGENTS, PIN_DIRECTORY "/local");
BPF_TABLE_PINNED("percpu_array", __u32, __u64, stats, MAX_REASONS, PIN_DIRECTORY "/stats");
BPF_TABLE_PINNED("percpu_array", __u32, struct usage, usage, MAX_BINDINGS, PIN_DIRECTORY "/usage");
BPF_TABLE_PINNED("percpu_array", __u32, struct error_budget, error_budget, 1, PIN_DIRECTORY "/error_budget");
BPF_XDP_REDIRECT_MAP("devmap:" PIN_DIRECTORY "/ports", __u32, ports, MAX_PORTS);
