# The package telegen-sonic: src/telegen-sonic is the project itself, whose debian/ builds it.

TELEGEN_VERSION = 0.1.0

TELEGEN = telegen-sonic_$(TELEGEN_VERSION)_$(CONFIGURED_ARCH).deb
$(TELEGEN)_SRC_PATH = $(SRC_PATH)/telegen-sonic
# No _NAME and _VERSION: they would become labels of the image, and with any such label sonic-package-manager wants one of every
# package that the manifest depends on.
SONIC_DPKG_DEBS += $(TELEGEN)

export TELEGEN TELEGEN_VERSION
