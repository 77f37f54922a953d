/* Signalling from a mobile node: IPv6 (care-of address -> home agent), Destination Options with a Home Address
 * option (RFC 6275 section 6.3), then ESP, ESP in UDP or a Mobility Header. A kernel without Mobile IPv6 discards it. So the
 * program does what RFC 6275 section 9.3.1 asks of the receiver: it exchanges source address and option. The option
 * becomes one that is skipped, and tells the control plane the care-of address. Length and checksums stay right,
 * because upper layers compute them over the home address. */
#pragma once

INLINE enum reason swap_home_address(struct ipv6_header *header, void *end)
{
	struct options_header *options = (void *)(header + 1);
	struct udp_header *udp = 0;
	__u64 *option_address;
	__u64 care_of_address[2];
	__u32 offset = sizeof(*options);
	__u32 size;
	__u8 *option;

	if ((void *)(options + 1) > end)
		return PASS_MALFORMED;
	size = (options->length + 1) * 8;
	if (size > length_of(header->payload_length) || size > MAX_OPTIONS_SIZE)
		return PASS_DESTINATION_OPTIONS;
	if (options->next_header == NEXT_HEADER_UDP) {
		udp = (void *)options + size;
		if (!is_esp_in_udp(udp, end))
			return PASS_DESTINATION_OPTIONS;
	} else if (options->next_header != NEXT_HEADER_ESP && options->next_header != NEXT_HEADER_MOBILITY) {
		return PASS_DESTINATION_OPTIONS;
	}

	for (int i = 0; i < MAX_OPTIONS; i++) {
		if (offset + 2 > size || offset > MAX_OPTIONS_SIZE)
			break;
		option = (__u8 *)options + offset;
		if ((void *)(option + 2) > end)
			break;
		if (option[0] == OPTION_PAD1) {
			offset += 1;
			continue;
		}
		if (option[0] != OPTION_HOME_ADDRESS && option[0] != OPTION_CARE_OF_ADDRESS) {
			offset += 2 + option[1];
			continue;
		}
		if (option[0] == OPTION_CARE_OF_ADDRESS)
			return DROP_FORGED_CARE_OF_ADDRESS;
		option_address = (__u64 *)(option + 2);
		if (option[1] != OPTION_ADDRESS_LENGTH || offset + 2 + OPTION_ADDRESS_LENGTH > size)
			break;
		if ((void *)(option_address + 2) > end || !is_forwardable(option_address))
			break;
		care_of_address[0] = header->source[0];
		care_of_address[1] = header->source[1];
		header->source[0] = option_address[0];
		header->source[1] = option_address[1];
		option_address[0] = care_of_address[0];
		option_address[1] = care_of_address[1];
		option[0] = OPTION_CARE_OF_ADDRESS;
		if (udp)
			correct_udp_checksum(udp, care_of_address, header->source);
		return PASS_HOME_ADDRESS_SWAPPED;
	}
	return PASS_DESTINATION_OPTIONS;
}
