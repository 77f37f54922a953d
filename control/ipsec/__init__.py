"""IPsec: traffic selectors, algorithms, security associations and the back ends that apply them."""
