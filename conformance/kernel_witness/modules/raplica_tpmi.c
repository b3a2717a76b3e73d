// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hardware that the stock TPMI driver waits for.
 *
 * intel_rapl_tpmi binds to auxiliary devices that intel_vsec_tpmi adds, one for each package. Here they are added
 * without a PCI device. Each one's page holds a copy of the table below the MSRs, because the driver reads the headers
 * directly; everything else it reads through the functions that divert.c knows.
 */
#include <linux/auxiliary_bus.h>
#include <linux/init.h>
#include <linux/intel_tpmi.h>
#include <linux/intel_vsec.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#include "raplica_table.h"

static unsigned int count;
module_param(count, uint, 0444);
MODULE_PARM_DESC(count, "how many packages have a TPMI interface");

#ifdef RAPLICA_VSEC_ENDS_IN_RESOURCES
/* One device, with room for its one resource at the end. */
struct package {
	struct oobmsm_plat_info place;
	struct intel_vsec_device vsec;
};
#define RESOURCES 1
#define registers_of(package) ((package)->vsec.resource)
#else
struct package {
	struct intel_vsec_device vsec;
	struct intel_tpmi_plat_info place;
	struct resource registers;
};
#define RESOURCES 0
#define registers_of(package) (&(package)->registers)
#endif

static struct package *packages[8];

static void forget(struct device *device)
{
	kfree(container_of(device, struct package, vsec.auxdev.dev));
}

static int fill(struct package *package, u32 number)
{
	u64 base = RAPLICA_TPMI_BASE + number * RAPLICA_TPMI_STRIDE;
	u64 __iomem *words = ioremap(base, RAPLICA_TPMI_STRIDE);
	u32 offset, used = 0;

	if (!words)
		return -ENOMEM;
	for (offset = 0; offset < RAPLICA_TPMI_END; offset += sizeof(u64)) {
		writeq(raplica_content(number, offset), (void __iomem *)words + offset);
		if (raplica_content(number, offset))
			used = offset;
	}
	iounmap(words);
	*registers_of(package) = (struct resource)DEFINE_RES_MEM(base, round_up(used + 1, 128));
	return 0;
}

static int add_package(u32 number)
{
	struct package *package = kzalloc(sizeof(*package) + RESOURCES * sizeof(struct resource), GFP_KERNEL);
	struct auxiliary_device *device;
	int error;

	if (!package)
		return -ENOMEM;
	package->vsec.num_resources = 1;
	error = fill(package, number);
	if (error) {
		kfree(package);
		return error;
	}
	package->place.package_id = number;
	package->place.bus_number = number;
#ifndef RAPLICA_VSEC_ENDS_IN_RESOURCES
	package->vsec.resource = registers_of(package);
#endif
	package->vsec.priv_data = &package->place;
	package->vsec.priv_data_size = sizeof(package->place);
	device = &package->vsec.auxdev;
	device->name = "tpmi-rapl";
	device->id = number;
	device->dev.release = forget;
	/* Auxiliary devices need a parent. */
	device->dev.parent = &platform_bus;
	error = auxiliary_device_init(device);
	if (error) {
		kfree(package);
		return error;
	}
	error = __auxiliary_device_add(device, "intel_vsec");
	if (error) {
		auxiliary_device_uninit(device);
		return error;
	}
	packages[number] = package;
	return 0;
}

static void remove_packages(void)
{
	int number;

	for (number = 0; number < ARRAY_SIZE(packages); number++) {
		if (!packages[number])
			continue;
		auxiliary_device_delete(&packages[number]->vsec.auxdev);
		auxiliary_device_uninit(&packages[number]->vsec.auxdev);
		packages[number] = NULL;
	}
}

static int __init start(void)
{
	int number, error = 0;

	if (count > ARRAY_SIZE(packages))
		return -EINVAL;
	for (number = 0; number < count && !error; number++)
		error = add_package(number);
	if (error)
		remove_packages();
	return error;
}

static void __exit stop(void)
{
	remove_packages();
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("raplica: the hardware that the TPMI driver waits for");
