#pragma once
#include "softgrpo.pb-c.h"
