"""The exchanges of IKEv2, one module each: what a request holds, how it is answered, what an answer means."""
